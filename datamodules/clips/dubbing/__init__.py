"""Clips to be dubbed: windows with the sound of each frame, pairs of a video and another sound, and whole videos."""
