"""Data: where samples come from, which of them are kept, how they become batches."""
