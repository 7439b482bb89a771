"""The hand: strokes, lines, hatching, dots and flat fields, drawn after the model at the size of the result."""
