"""What GRIT is compared with: Pix2PixHD and SPADE."""
