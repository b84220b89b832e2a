"""Data that the analysis of ViTs (chapter 2) is measured on."""
