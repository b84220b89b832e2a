"""Protocols and pictures of dense features: correspondence, video segmentation, object discovery."""
