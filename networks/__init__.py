"""Plain torch building blocks that two or more methods use. Names are imported when they are first used."""

from visionscapes.exports import lazy_exports

EXPORTS = {
    "AestheticPredictor": "networks.image_scores",
    "AtLargerImage": "networks.dense",
    "Contrast": "networks.image_scores",
    "DiffusionInpainter": "networks.diffusion_inpainter",
    "GLIGENInpainter": "networks.gligen",
    "ObjectPasting": "networks.object_pasting",
    "SmallIdentity": "networks.identity",
    "SyncNetwork": "networks.sync_network",
    "TransformersSegmenter": "networks.segmenters",
    "Upsampled": "networks.dense",
    "VGGFace": "networks.vggface",
    "ViTFeatures": "networks.vit_features",
}
__getattr__, __dir__, __all__ = lazy_exports(__name__, EXPORTS)
