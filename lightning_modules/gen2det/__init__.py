"""Gen2Det: detectors trained on generated pictures too (thesis chapter 7)."""
