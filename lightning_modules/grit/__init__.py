"""GRIT: image-to-image translation with GAN residuals (thesis chapter 5), and its baselines."""
