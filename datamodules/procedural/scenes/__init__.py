"""Textured objects on textured backgrounds, with boxes, masks, parts, keypoints and videos."""
