"""Scripts that make base models and style adapters. Depends on `stylekit`, never on `eval` or a user interface."""
