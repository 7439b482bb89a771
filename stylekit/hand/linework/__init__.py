"""Tools that draw with a pen: contours, outlines of areas, patterns."""
