"""Sparsely annotated copies of detection data (thesis section 3.3.2)."""
