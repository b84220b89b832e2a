"""LiFT (thesis chapter 8)."""
