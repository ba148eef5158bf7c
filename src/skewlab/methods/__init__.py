"""Methods against imbalance: losses, weights, samplers, mixing, gradient rules, heads, rules."""
