"""GAN discovery: attribution of generated images in an open world (thesis chapter 4)."""
