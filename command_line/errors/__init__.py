"""Mistakes in one line: what the parser, a library or the file system says, and what was probably meant."""
