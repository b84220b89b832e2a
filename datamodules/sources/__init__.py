"""Images of known and unknown sources (chapter 4)."""
