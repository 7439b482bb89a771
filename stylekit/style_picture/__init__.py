"""A picture as the style."""
