"""Skewlab: how class imbalance changes what a deep network learns, when, and for whom."""
