"""Data of the protocols of dense features: SPair-71k, DAVIS-2017, VOC and COCO20k, scenes."""
