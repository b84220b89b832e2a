"""Diff2Lip: audio-conditioned diffusion for lip synchronisation (thesis chapter 6.2), and its baselines."""
