"""Data: paths, splits, transforms and collation. Names are imported when they are first used."""

from visionscapes.exports import lazy_exports

EXPORTS = {
    "BYOLViews": "datamodules.images.byol_views",
    "COCO20k": "datamodules.dense.object_discovery",
    "COCODetection": "datamodules.detection.coco",
    "COCOInstances": "datamodules.analysis.coco_instances",
    "CelebAMaskHQ": "datamodules.translation.celeba_mask_hq",
    "Clips": "datamodules.clips.prepared_clips",
    "Collection": "datamodules.analysis.collection",
    "DAVIS2017": "datamodules.dense.davis",
    "DetectionScenes": "datamodules.detection.scenes",
    "DubbingClips": "datamodules.clips.dubbing.dubbing_clips",
    "DubbingWorld": "datamodules.clips.dubbing.dubbing_world",
    "Edges2Handbags": "datamodules.translation.edges2handbags",
    "FaceWorld": "datamodules.translation.face_world",
    "ImageFolder": "datamodules.images.image_folder",
    "ImageCaptions": "datamodules.images.image_captions",
    "ImageNet": "datamodules.images.imagenet",
    "ImageNet50": "datamodules.analysis.imagenet_50",
    "ImageNetNeighbours": "datamodules.analysis.imagenet_neighbours",
    "LVISDetection": "datamodules.detection.lvis",
    "PairedImages": "datamodules.translation.paired_images",
    "PartImageNet": "datamodules.analysis.part_imagenet",
    "RandomViews": "datamodules.images.views",
    "RevisitedRetrieval": "datamodules.analysis.revisited_retrieval",
    "SPair71k": "datamodules.dense.spair",
    "SecondView": "datamodules.detection.second_view",
    "SceneWorld": "datamodules.dense.scene_world",
    "SourceImages": "datamodules.sources.images",
    "SourceWorld": "datamodules.sources.world",
    "SubjectWorld": "datamodules.analysis.subject_world",
    "TalkingWorld": "datamodules.clips.talking_world",
    "VOCDetection": "datamodules.detection.voc",
    "VOCDiscovery": "datamodules.dense.object_discovery",
}
__getattr__, __dir__, __all__ = lazy_exports(__name__, EXPORTS)
