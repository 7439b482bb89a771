"""Pictures for training: found, checked, opened, prepared."""
