"""Evaluation: metrics over tensors and the methods they compare. Depends on `stylekit`, never on `training` or a user interface."""
