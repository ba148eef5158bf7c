"""Methods: what is changed to fight imbalance."""
