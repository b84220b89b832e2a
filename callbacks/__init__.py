"""Evaluation protocols, pictures and run records: usable with every module that fits."""
