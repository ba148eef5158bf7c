"""What the configuration may hold, and the parts that it names."""
