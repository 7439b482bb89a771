"""stylekit: a photograph and a style go in; the same scene, restyled, comes out."""

__version__ = "0.1.0"
