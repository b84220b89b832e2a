"""Data: paths, splits, transforms and collation. Names are imported when they are first used."""

from importlib import import_module
from typing import Any

EXPORTS = {
    "BYOLViews": "datamodules.byol_views",
    "COCO20k": "datamodules.discovery",
    "COCODetection": "datamodules.coco_detection",
    "COCOInstances": "datamodules.coco_instances",
    "CelebAMaskHQ": "datamodules.celeba_mask_hq",
    "Collection": "datamodules.collection",
    "DAVIS2017": "datamodules.davis",
    "DetectionScenes": "datamodules.detection_scenes",
    "Edges2Handbags": "datamodules.edges2handbags",
    "FaceWorld": "datamodules.face_world",
    "ImageFolder": "datamodules.image_folder",
    "ImageCaptions": "datamodules.image_captions",
    "ImageNet": "datamodules.imagenet",
    "ImageNet50": "datamodules.imagenet_50",
    "ImageNetNeighbours": "datamodules.imagenet_neighbours",
    "LVISDetection": "datamodules.lvis_detection",
    "PairedImages": "datamodules.paired_images",
    "PartImageNet": "datamodules.part_imagenet",
    "RandomViews": "datamodules.views",
    "RevisitedRetrieval": "datamodules.revisited_retrieval",
    "SPair71k": "datamodules.spair",
    "SecondView": "datamodules.second_view",
    "SceneWorld": "datamodules.scene_world",
    "SourceImages": "datamodules.source_images",
    "SourceWorld": "datamodules.source_world",
    "SubjectWorld": "datamodules.subject_world",
    "VOCDetection": "datamodules.voc_detection",
    "VOCDiscovery": "datamodules.discovery",
}
__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
