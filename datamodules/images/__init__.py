"""Folders of images and ImageNet, with captions or views: what ViTs and LiFT are trained on."""
