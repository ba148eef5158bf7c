"""A run on disk: its name, status, lock and curves."""
