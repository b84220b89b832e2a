"""Protocols, pages and files of the discovery of image sources (chapter 4)."""
