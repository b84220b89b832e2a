"""The ways of training a ViT that thesis chapter 2 compares, and the one of the small backbone."""
