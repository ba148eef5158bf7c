"""A run on disk: its name, its status, its curves."""
