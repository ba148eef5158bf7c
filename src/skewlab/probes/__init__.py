"""Probes: extra measurements of what a network learns, off by default, switched on by name."""
