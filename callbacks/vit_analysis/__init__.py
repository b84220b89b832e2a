"""The analyses of chapter 2: attention, features and downstream tasks of any ViT, layer by layer."""
