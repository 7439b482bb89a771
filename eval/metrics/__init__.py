"""Metrics: each takes tensors or features, never paths, and is checked against a closed form and a reference implementation."""
