"""Heads to be reenacted: shots of one person, and landmarks drawn as pictures that say how the head is turned."""
