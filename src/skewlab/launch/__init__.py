"""One command, from its words to its last line."""
