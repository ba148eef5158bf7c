"""The dashboard of a sweep on Weights & Biases."""
