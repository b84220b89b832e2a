"""``python -m datamodules.clips.prepare``: clips of VoxCeleb2, of LRW or of any folder, made ready for training."""
