"""How much outputs of the same sample differ to the eye: perceptual distance between draws."""

from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks.generation.evaluation import GenerationEvaluation, Key, Metrics, generating, generator_of
from callbacks.results.presentation import NEUTRAL, Presentation
from callbacks.results.result import Result
from metrics.image_means import ImageMeans
from networks.feature_networks import LPIPS, SMALL_NETWORK, SmallDistance
from networks.generated import Generated, repeated, to_unit_range
from visionscapes.checks import AnyInt, Bounds, PositiveShare, check_options
from visionscapes.seeding import named_seed


class DrawDiversity(GenerationEvaluation):
    """Mean perceptual distance between every two outputs of the same sample, which differ in their noise alone.

    Protocol "diversity", method "image": the mean over all pairs of draws of a sample, the mean over samples. With the
    weights of AlexNet the metric is "LPIPS between draws", the diversity of Zhu et al.; without them "feature distance
    between draws (dense-contrastive ViT)", that of the small ViT of this repository, which is not comparable with it.
    0 for a generator without noise. More is not always better: noise in place of an image has most of it.

    The noise of a sample depends on the seed and its name alone, and not on the batch in which it comes.

    Args:
        draws: outputs of each sample, at least 2.
        share: of the samples that are measured, in (0, 1]; which ones depends on the seed and their names.
        seed: of the noise.
        lpips_weights: of torchvision's AlexNet: the path of a file, "download", or None for the small network.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: an option out of range; before the run, weights that are missing or do not fit.

    J.-Y. Zhu et al., "Toward multimodal image-to-image translation", NeurIPS 2017, section 5.
    """

    protocol = "diversity"
    presentation = Presentation("Diversity of the draws", NEUTRAL, ranked=False)

    def __init__(
        self,
        draws: Annotated[int, Bounds(least=2)] = 5,
        share: PositiveShare = 1.0,
        seed: AnyInt = 0,
        lpips_weights: str | None = None,
        validate: bool = False,
    ):
        check_options(DrawDiversity, locals())
        super().__init__(validate)
        self.draws, self.share, self.seed, self.lpips_weights = draws, share, seed, lpips_weights
        self._distance: nn.Module | None = None

    @property
    def _name(self) -> str:
        return (
            f"feature distance between draws ({SMALL_NETWORK})" if self.lpips_weights is None else "LPIPS between draws"
        )

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict" or self._distance is not None:
            return
        if self.lpips_weights is not None:
            self._distance = LPIPS(self.lpips_weights)
            return
        self._distance = SmallDistance()
        pl_module.print(f"no lpips_weights: diversity in the features of the {SMALL_NETWORK} in place of LPIPS")

    @override
    def new_metric(self, key: Key) -> ImageMeans:
        return ImageMeans([self._name])

    @override
    def update(self, trainer: Trainer, pl_module: LightningModule, generated: Generated, batch: Any) -> None:
        module = generator_of(self, pl_module)
        assert self._distance is not None
        distance = self._distance.to(pl_module.device)
        for index, name in enumerate(batch["name"]):
            if named_seed(self.seed, f"share of {name}") / 2**63 >= self.share:
                continue
            noise = torch.Generator().manual_seed(named_seed(self.seed, name))
            with generating(trainer):
                outputs = to_unit_range(module.generate(repeated(batch, index, self.draws), noise).image)
            figures = {self._name: mean_distance(distance, outputs)[None]}
            self.metric(pl_module, "image", batch["image"].shape[-2]).update(figures)

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        return [
            Result(
                self.protocol,
                name,
                method,
                image_size=size,
                value=float(each.value),
                standard_error=float(each.standard_error),
                count=each.count,
            )
            for (method, size), metric in metrics.items()
            for name, each in metric.compute().items()
        ]


def mean_distance(distance: nn.Module, images: Tensor) -> Tensor:
    """Return the mean distance between every two images.

    Args:
        distance: of images (B, 3, H, W) in [0, 1] to others, (B,).
        images: (N, 3, H, W) in [0, 1], at least 2.

    Returns:
        A float64 scalar.
    """
    found = [distance(images[lag:], images[:-lag]) for lag in range(1, len(images))]
    return torch.cat(found).double().mean()
