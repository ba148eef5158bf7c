"""Per-class sums, and the numbers that are computed from them."""
