"""Any classifier of timm as a backbone: pooled features instead of classes."""

from difflib import get_close_matches
from typing import Any

from torch import nn

from networks.weights import load_weights
from visionscapes.errors import UserError

HEADS = ("fc.", "head.", "classifier.")


def create_backbone(model: str, weights: str | None, model_args: dict[str, Any]) -> nn.Module:
    """Create a model of timm that maps normalised images (B, 3, H, W) to pooled features (B, ``num_features``).

    Args:
        model: name, such as "resnet50" or "mobilenetv2_100", or "plain_cnn" (`networks.plain_cnn`).
        weights: "timm" for the published ones, a local file, or None for random ones.
        model_args: further arguments of ``timm.create_model``.

    Raises:
        UserError: timm has no such model or cannot build it, the published weights cannot be fetched, or those of a
            file do not fit.
    """
    import timm

    import networks.plain_cnn  # noqa: F401 (registers a model)

    hub = weights == "timm"
    if not timm.is_model(model.partition(".")[0]):
        similar = ", ".join(get_close_matches(model, timm.list_models(), n=4)) or "see timm.list_models()"
        raise UserError(f"timm has no model '{model}'; similar ones: {similar}")
    try:
        backbone = timm.create_model(model, pretrained=hub, num_classes=0, **model_args)
    except Exception as error:  # without a network, what is raised depends on the library that fetches
        if hub:
            raise UserError(
                f"cannot fetch the weights of '{model}' ({type(error).__name__}). Fetch them elsewhere and give the "
                "file's path as weights, or weights=null for random ones"
            ) from error
        raise UserError(f"'{model}' cannot be built: {error}") from error
    if weights is not None and not hub:
        load_weights(backbone, weights, ignore=HEADS)
    return backbone
