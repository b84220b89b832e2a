"""One face through a video: which one, where it is, and 68 landmarks that do not tremble."""
