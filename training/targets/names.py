"""What targets are called in settings; the modules that make them are loaded only when they are made."""

from __future__ import annotations

PROCEDURE = "procedure:"
PALETTE = "palette:"
MEASURED = "palette:measured"  # how the pictures are followed is measured from them
TEACHER = "teacher"
OF_A_GROUP = (MEASURED, TEACHER)  # made after pictures that are alike
PROCEDURES = ("sketch", "ukiyoe", "popart", "minimalism", "monet", "vangogh")
PALETTES = ("measured", "monet", "vangogh", "ukiyoe", "watercolour")
