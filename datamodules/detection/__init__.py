"""Detection data: COCO, VOC, LVIS, scenes; samples and second views."""
