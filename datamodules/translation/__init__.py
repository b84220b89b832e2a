"""Pairs of a condition, such as a label map, and an image (chapter 5)."""
