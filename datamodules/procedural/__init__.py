"""Embedded worlds: deterministic functions of (seed, index) with exact ground truth."""
