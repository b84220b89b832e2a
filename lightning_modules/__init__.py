"""The methods, one folder each. Names are imported when they are first used, so that start-up stays quick."""

from visionscapes.exports import lazy_exports

EXPORTS = {
    "Diff2Lip": "lightning_modules.diff2lip.module",
    "Wav2Lip": "lightning_modules.diff2lip.baselines.wav2lip",
    "Copying": "lightning_modules.diff2lip.baselines.copying",
    "GANDiscovery": "lightning_modules.gan_discovery.module",
    "BoxDiffusionTraining": "lightning_modules.gen2det.diffusion_module",
    "GeneratedPictureFilter": "lightning_modules.gen2det.filtering_module",
    "LayoutInpainting": "lightning_modules.gen2det.generating",
    "GRIT": "lightning_modules.grit.module",
    "Gen2Det": "lightning_modules.gen2det.module",
    "Pix2PixHD": "lightning_modules.grit.baselines.pix2pixhd",
    "SPADE": "lightning_modules.grit.baselines.spade",
    "LSR": "lightning_modules.lsr.module",
    "LSRLayout": "lightning_modules.lsr.layout",
    "LSRFineTuning": "lightning_modules.lsr.subject",
    "LiFT": "lightning_modules.lift.module",
    "BackboneClassifier": "lightning_modules.backbone_classifier",
    "FaceIdentity": "lightning_modules.face_identity",
    "Detector": "lightning_modules.detector",
    "SparseDet": "lightning_modules.sparsedet.module",
    "CoMining": "lightning_modules.sparsedet.baselines",
    "PseudoLabels": "lightning_modules.sparsedet.baselines",
    "TwoViewDetector": "lightning_modules.sparsedet.baselines",
    "SyncNet": "lightning_modules.syncnet.module",
    "BEiT": "lightning_modules.supervision.beit",
    "CLIP": "lightning_modules.supervision.clip",
    "DINO": "lightning_modules.supervision.dino",
    "DenseContrastive": "lightning_modules.supervision.dense_contrastive",
    "MAE": "lightning_modules.supervision.mae",
    "MoCo": "lightning_modules.supervision.moco",
    "Supervised": "lightning_modules.supervision.supervised",
    "ViTAnalysis": "lightning_modules.vit_analysis.module",
}
__getattr__, __dir__, __all__ = lazy_exports(__name__, EXPORTS)
