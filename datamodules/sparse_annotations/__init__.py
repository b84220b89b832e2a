"""Sparsely annotated copies of detection data sets."""
