"""Subcommands of our own, beside those of Lightning's Trainer: a table, and a file for each."""
