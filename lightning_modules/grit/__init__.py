"""GRIT (thesis chapter 5)."""
