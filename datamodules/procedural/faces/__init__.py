"""Parametric faces with label maps, landmarks and random texture."""
