"""The same contents through small generators, each with its fingerprint."""
