"""Evaluation protocols, pictures and run records: usable with every module that fits.

Names are imported when they are first used, so that start-up stays quick.
"""

from importlib import import_module
from typing import Any

EXPORTS = {
    "BackboneWriter": "callbacks.backbone_writer",
    "Complexity": "callbacks.complexity",
    "FeatureWriter": "callbacks.feature_writer",
    "FiniteLoss": "callbacks.finite_loss",
    "KeypointCorrespondence": "callbacks.keypoint_correspondence",
    "ObjectDiscovery": "callbacks.object_discovery",
    "PrincipalComponentPicture": "callbacks.pictures",
    "ReproducibleSteps": "callbacks.reproducible_steps",
    "ResultTable": "callbacks.result_table",
    "RunRecord": "callbacks.run_record",
    "ScaleInvariance": "callbacks.scale_invariance",
    "SelfSimilarityPicture": "callbacks.pictures",
    "VideoPropagation": "callbacks.video_propagation",
}
__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
