"""The ground everybody stands on: errors, seeds, processes, files, checks. It knows nobody above it."""
