"""Flat areas: a photo cut into pieces of even colour, and their borders drawn as smooth curves at any size."""
