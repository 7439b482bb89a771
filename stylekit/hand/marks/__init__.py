"""What tools make their marks with: pen strokes, brush strokes, contours as curves, and grain. None knows a style."""
