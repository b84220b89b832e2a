"""The ViTs of an analysis (thesis chapter 2): which ones, with which weights, under which name."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from torch import nn
from typing_extensions import override

from lightning_modules.method import Method
from lightning_modules.vit_analysis.exporting import layers_of_vit
from networks.vit_features import create_vit
from networks.vit_layers import Layered, LayeredViT, RandomFeatures
from visionscapes.checks import ChannelDeviations, ChannelMeans, ImageSize, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable

RANDOM = "Random"


@dataclass
class AnalysedViT:
    """One ViT of the analysis.

    Args:
        model: name of a timm vision transformer with its tag.
        weights: "timm" for the weights of the tag, a local file, None for random ones.
        method: how it was supervised, which decides its colour in figures: FS, CLIP, DINO, MoCo, MAE, BEiT or a name of
            your own; that under which it is listed if None. "Random" stands for noise in place of features, of the
            shape that ``model`` would give (2.7.2).
        model_args: further arguments of ``timm.create_model``.
        mean: of the channels; the model's own if None.
        std: of the channels; the model's own if None.
        image_size: side of the square that one pass sees; the model's own if None.
        probe_layer: whose features linear probes take, from 1; the last if None (2.7.6.4 takes 8 for BEiT).

    Raises:
        UserError: an option is out of its bounds.
    """

    model: str
    weights: str | None = "timm"
    method: str | None = None
    model_args: dict[str, Any] | None = None
    mean: ChannelMeans | None = None
    std: ChannelDeviations | None = None
    image_size: ImageSize | None = None
    probe_layer: PositiveInt | None = None

    def __post_init__(self) -> None:
        check_options(AnalysedViT, vars(self))


class ViTAnalysis(Method):
    """Offers ViTs, frozen, to the analyses in ``callbacks.vit_analysis`` and to the evaluations of dense features.

    It trains nothing: run it with ``python cli.py test``. Every ViT sees pictures at its own size (2.7.1.1 has 224 for
    all), to which they are resized where the data come at another one.

    Args:
        models: by the name under which results report them, in the order of tables and figures. To add one of your own
            on the command line: ``--model.models.mine.model=<timm name> --model.models.mine.weights=<file>``.
        image_size: side in pixels at which the data bring square pictures; dense tasks bring pictures with twice that
            as their shorter side.
        models_at_once: how many are measured in one pass over the data, all if None. Fewer need less memory, of which
            k-NN takes most (the class tokens of all its pictures at all layers), and read the data more often.

    Raises:
        UserError: no models, an ``image_size`` or ``models_at_once`` below 1, a ViT that cannot be built or analysed,
            or a probe layer that it does not have.
    """

    takes = "datamodules.images.given.GivenPhotographs"
    gives = "by the name of a ViT and the number of a layer, from 1, its patch tokens (C, h, w) float32"
    cannot_fit = "ViTAnalysis trains nothing: run python cli.py test; configs/supervision/ has the trainings"

    def __init__(
        self, models: dict[str, AnalysedViT], image_size: ImageSize = 224, models_at_once: PositiveInt | None = None
    ):
        check_options(ViTAnalysis, locals())
        super().__init__()
        if not models:
            raise UserError("ViTAnalysis needs models: name at least one, such as models: {mine: {model: ...}}")
        self.names = list(models)
        self.entries = [entry if isinstance(entry, AnalysedViT) else AnalysedViT(**entry) for entry in models.values()]
        # A list, not a dict: names such as "FS B/16" hold characters that parameters may not.
        self.networks = nn.ModuleList(
            build(name, entry, image_size) for name, entry in zip(self.names, self.entries, strict=True)
        )

        self.image_size = image_size
        self.models_at_once, self._offered = models_at_once or len(self.names), len(self.names)

    def check_data(self, data: Any) -> None:
        """Check that the data bring pictures of the size that the ViTs are told of.

        Args:
            data: a datamodule; what it does not say is not checked.

        Raises:
            UserError: they have another.
        """
        size = getattr(data, "size", None)
        if isinstance(size, int) and size != self.image_size:
            raise UserError(
                f"the data have pictures of {size} pixels, and the analysis is told of {self.image_size}: give both "
                "the same, --model.image_size and --data.size"
            )

    def passes(self) -> Iterator[None]:
        """Yield once for every pass over the test data, each with ``models_at_once`` more models on offer.

        In the last pass all are; those of earlier passes are taken from what was kept of them.
        """
        for end in range(self.models_at_once, len(self.names) + self.models_at_once, self.models_at_once):
            self._offered = end
            yield

    def layered(self) -> dict[str, Layered]:
        """Return the ViTs by name: in an early pass the first ones only."""
        return dict(islice(zip(self.names, self._vits(), strict=True), self._offered))

    def dense_features(self) -> dict[str, Layered]:
        """Return the ViTs by name: each gives the patch tokens of all its layers."""
        return self.layered()

    def exportable(self) -> list[Exportable]:
        """Return the ViTs to export: images to the patch tokens of all layers."""
        return [layers_of_vit(*each) for each in self.layered().items() if not isinstance(each[1], RandomFeatures)]

    def described(self) -> list[dict[str, Any]]:
        """Return what reports say of every model, in plain values."""
        return [
            {
                "name": name,
                "method": entry.method or name,
                "depth": vit.depth,
                "heads": vit.heads,
                "patch_size": vit.patch_size,
                "image_size": vit.image_size,
                "grid": list(vit.grid),
            }
            for name, vit, entry in zip(self.names, self._vits(), self.entries, strict=True)
        ]

    def _vits(self) -> list[Layered]:
        return cast(list[Layered], list(self.networks))

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Do nothing: the callbacks pass the batch through the ViTs, once for all of them."""

    validation_step = test_step

    @override
    def default_inputs(self) -> dict[str, Any]:
        return {"shorter_side": 2 * self.image_size}  # as dense tasks bring their pictures

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, dict[str, torch.Tensor]]:
        """Return the patch tokens (B, C, h, w) of ``batch["image"]`` by ViT and layer."""
        return {name: vit(batch["image"]) for name, vit in self.layered().items()}

    @override
    def answers(self, batch: dict[str, Any]) -> list[dict[str, dict[str, torch.Tensor]]]:
        found = self.predict_step(batch, 0)
        return [
            {name: {layer: maps[at].float() for layer, maps in layers.items()} for name, layers in found.items()}
            for at in range(len(batch["image"]))
        ]

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        """Raise: there is nothing to train.

        Raises:
            UserError: always.
        """
        raise UserError(self.cannot_fit)

    @override
    def configure_optimizers(self) -> None:
        """Return none."""


def build(name: str, entry: AnalysedViT, data_size: int) -> Layered:
    """Return the network of an entry.

    Args:
        name: of the entry, for messages.
        entry: what to build.
        data_size: side at which square pictures arrive, pixels.

    Raises:
        UserError: see ``LayeredViT``; the probe layer does not exist.
    """
    try:
        if entry.method == RANDOM:
            shape = create_vit(entry.model, None, entry.model_args or {})
            size = entry.image_size or shape.patch_embed.img_size[0]
            return RandomFeatures(shape.embed_dim, shape.patch_embed.patch_size[0], size, data_size=data_size)
        vit = LayeredViT(
            entry.model,
            entry.weights,
            entry.model_args,
            mean=entry.mean,
            std=entry.std,
            image_size=entry.image_size,
            data_size=data_size,
        )
    except UserError as error:
        raise UserError(f"model {name!r}: {error}") from error
    if entry.probe_layer is not None and not 1 <= entry.probe_layer <= vit.depth:
        raise UserError(f"model {name!r}: probe_layer {entry.probe_layer} does not exist, it has 1 to {vit.depth}")
    vit.probe_layer = entry.probe_layer
    return vit
