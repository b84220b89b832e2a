"""Faces found in pictures and their 68 landmarks, by the networks of MediaPipe on one thread of a CPU."""
