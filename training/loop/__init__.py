"""The loop of every training: settings, checkpoints, steps and their log."""
