"""How close generated images come to the true ones."""

from typing import Literal

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks.generation.comparison import Compared, ComparisonEvaluation
from callbacks.generation.evaluation import Key, Metrics
from callbacks.results.presentation import HIGHER, LOWER, Presentation
from callbacks.results.result import Result
from metrics.image_means import ImageMeans
from metrics.structural_similarity import NAMES, structural_similarity
from networks.feature_networks import LPIPS, SMALL_NETWORK, SmallDistance
from visionscapes.checks import check_options


class ReconstructionEvaluation(ComparisonEvaluation):
    """L1, PSNR, SSIM and perceptual distance between generated and true images (tables 5.1 to 5.5, 6.1 to 6.4).

    Protocol "reconstruction", methods "image" and, of a generator that has it, "reconstruction"; of dubbed faces the
    setting "reconstruction", for in the other one there is no truth; of reenacted people such as "K = 4". Every figure
    is a mean over images. "L1" is the mean absolute difference on the scale of 0 to 255; "PSNR" is in dB, infinite
    where an image is equal to the truth; "SSIM (gaussian 11)" or "SSIM (uniform 7)"; "LPIPS" with AlexNet, or without
    its weights "feature distance", see ``networks.feature_networks``, in the small ViT of this repository, which is not
    comparable with it.

    Args:
        window: of SSIM, "gaussian" or "uniform", see ``metrics.structural_similarity``.
        quantise: whether images are rounded to 8 bits first, as in files, which LSR's evaluation reads.
        lpips_weights: of torchvision's AlexNet: the path of a file, "download", or None for the small network.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: an unknown window; before the run, weights that are missing or do not fit.
    """

    protocol = "reconstruction"
    takes_videos = True
    presentation = Presentation("Fidelity to the true images", LOWER, {"PSNR": HIGHER, "SSIM": HIGHER}, ranked=False)

    def __init__(
        self,
        window: Literal["gaussian", "uniform"] = "gaussian",
        quantise: bool = True,
        lpips_weights: str | None = None,
        validate: bool = True,
    ):
        check_options(ReconstructionEvaluation, locals())
        super().__init__(validate)
        self.window, self.quantise, self.lpips_weights = window, quantise, lpips_weights
        self._distance: nn.Module | None = None

    @property
    def _distance_name(self) -> str:
        return "feature distance" if self.lpips_weights is None else "LPIPS"

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict" or self._distance is not None:
            return
        if self.lpips_weights is not None:
            self._distance = LPIPS(self.lpips_weights)
            return
        self._distance = SmallDistance()
        pl_module.print(f"no lpips_weights: 'feature distance' of the {SMALL_NETWORK} in place of LPIPS")

    @override
    def new_metric(self, key: Key) -> ImageMeans:
        return ImageMeans(["L1", "PSNR", NAMES[self.window], self._distance_name])

    @override
    def compare(self, trainer: Trainer, pl_module: LightningModule, compared: Compared) -> None:
        if not compared.aligned:
            return
        assert self._distance is not None
        distance = self._distance.to(pl_module.device)
        truth = self._rounded(compared.truth)
        for method, output in compared.methods.items():
            images = self._rounded(output)
            figures = {
                **pixel_errors(images, truth),
                NAMES[self.window]: structural_similarity(images, truth, self.window),
                self._distance_name: distance(images, truth),
            }
            self.metric(pl_module, method, truth.shape[-2]).update(figures)

    def _rounded(self, images: Tensor) -> Tensor:
        return (images * 255).round() / 255 if self.quantise else images

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


def pixel_errors(images: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Return "L1" on the scale of 0 to 255 and "PSNR" in dB of every image.

    Args:
        images: (B, 3, H, W) in [0, 1].
        truth: (B, 3, H, W) in [0, 1].

    Returns:
        Name to (B,) float64; PSNR = -10 log10 of the mean squared error, whose peak is 1.
    """
    difference = (images.double() - truth.double()).flatten(1)
    return {"L1": 255 * difference.abs().mean(1), "PSNR": -10 * torch.log10(difference.square().mean(1))}
