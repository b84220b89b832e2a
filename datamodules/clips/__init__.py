"""Clips of talking heads: video, sound, faces and landmarks, from any file or a world of its own."""
