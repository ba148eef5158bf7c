"""Curves: what is measured of each class, and when."""
