"""Whether generated images show what their label maps ask for: they are segmented again, and both are compared."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from callbacks.generation.comparison import RECONSTRUCTION
from callbacks.generation.evaluation import GenerationEvaluation, Key, Metrics
from callbacks.results.presentation import SHARE, Presentation
from callbacks.results.result import Result
from metrics.segmentation_scores import SegmentationScores
from networks.gan.conditions import UNLABELLED
from networks.generated import Generated, to_unit_range
from networks.segmenters import fitted
from visionscapes.checks import NonNegativeInt, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.processes import from_first, is_first

TRUTH = "truth"


class SegmentationAgreement(GenerationEvaluation):
    """mIoU and pixel accuracy of what a segmentation network sees in generated images, against their label maps.

    Protocol "segmentation", methods "image", "reconstruction" of a generator that has it, and "truth", the true images,
    beyond which a network's figures say little. The figures carry the name of the network, as "mIoU (small U-Net of
    the training pairs)", and are comparable where it is the same. Without ``segmenter`` a small one learns the training
    pairs of the data before the first figure, which takes about a minute at 64 pixels on a processor; it sees no
    generated image. Pixels without a label do not count.

    Args:
        segmenter: a network from images (B, 3, H, W) in [0, 1] to logits (B, K, h, w), such as
            `networks.TransformersSegmenter`; its ``title``, or else its class, is its name. None for the small one.
        steps: of the training of the small one, 8 pairs each.
        seed: of that training.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: an option out of range; in the run, data without label maps, or for the small one without training
            pairs, or a network of fewer classes than the data.

    T. Park et al., "Semantic image synthesis with spatially-adaptive normalization", CVPR 2019, section 4.
    """

    protocol = "segmentation"
    presentation = Presentation("Images segmented again, against their label maps", SHARE, ranked=False)

    def __init__(
        self,
        segmenter: nn.Module | None = None,
        steps: PositiveInt = 300,
        seed: NonNegativeInt = 0,
        validate: bool = False,
    ):
        check_options(SegmentationAgreement, locals())
        super().__init__(validate)
        self.segmenter, self.steps, self.seed = segmenter, steps, seed
        self._network = segmenter
        self._classes = 0

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict":
            return
        data = getattr(trainer, "datamodule", None)
        classes = getattr(data, "classes", None)
        if classes is None or classes > UNLABELLED:
            raise UserError(
                f"SegmentationAgreement compares with label maps of at most {UNLABELLED} classes, which "
                f"{type(data).__name__} does not have: leave the callback out"
            )
        if self._network is None and not hasattr(data, "pairs"):
            raise UserError(
                f"SegmentationAgreement has no training pairs of {type(data).__name__} to learn to segment from: give "
                "it a segmenter, such as networks.TransformersSegmenter"
            )
        self._classes = classes

    @property
    def title(self) -> str:
        """What figures call the network."""
        return str(getattr(self._network, "title", type(self._network).__name__))

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Teach the small network, once in a run: on the first process, for all."""
        super().on_test_epoch_start(trainer, pl_module)
        if self._network is None:
            self._network = from_first(self._taught(trainer, pl_module) if is_first() else None)

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        if self.validate and not trainer.sanity_checking and self._network is None:
            self._network = from_first(self._taught(trainer, pl_module) if is_first() else None)

    def _taught(self, trainer: Trainer, pl_module: LightningModule) -> nn.Module:
        samples = trainer.datamodule.pairs("train")  # type: ignore[attr-defined]

        def pair(place: int) -> tuple[Tensor, Tensor]:
            sample = samples[place]
            return sample["image"], sample["labels"]

        print(f"SegmentationAgreement: a small network learns to segment {len(samples)} training pairs")
        taught = fitted(pair, len(samples), self._classes, steps=self.steps, device=pl_module.device, seed=self.seed)
        return taught.cpu()  # to be sent to the other processes

    @override
    def new_metric(self, key: Key) -> SegmentationScores:
        return SegmentationScores(self._classes, UNLABELLED)

    @override
    def update(self, trainer: Trainer, pl_module: LightningModule, generated: Generated, batch: Any) -> None:
        labels = batch["labels"]
        methods = {"image": to_unit_range(generated.image)}
        if RECONSTRUCTION in generated.parts:
            methods[RECONSTRUCTION] = to_unit_range(generated.parts[RECONSTRUCTION])
        for method, images in (methods | {TRUTH: batch["image"].float()}).items():
            predicted = self._segmented(pl_module, images, labels.shape[-2:])
            self.metric(pl_module, method, labels.shape[-2]).update(predicted, labels)

    def _segmented(self, pl_module: LightningModule, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the labels (B, H, W) of images."""
        assert self._network is not None
        logits = self._network.to(pl_module.device)(images)
        if logits.shape[1] > self._classes:
            raise UserError(
                f"the segmenter {self.title} has {logits.shape[1]} classes, and the data {self._classes}: give one of "
                "these classes, or say which of its classes are which of these, as labels of TransformersSegmenter"
            )
        if tuple(logits.shape[2:]) != tuple(size):
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return logits.argmax(1)

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        rows = []
        for (method, size), metric in metrics.items():
            assert isinstance(metric, SegmentationScores)
            figures: Mapping[str, Tensor] = metric.compute()
            rows += [
                Result(
                    self.protocol,
                    f"{name} ({self.title})",
                    method,
                    image_size=size,
                    value=float(value),
                    standard_error=float("nan"),
                    count=int(metric.images),
                )
                for name, value in figures.items()
            ]
        return rows
