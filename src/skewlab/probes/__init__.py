"""Extra measurements of the dynamics, off by default and switched on by name."""
