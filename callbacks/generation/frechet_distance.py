"""How close the distribution of generated images comes to that of the true ones."""

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks.generation.comparison import Compared, ComparisonEvaluation
from callbacks.generation.evaluation import Key, Metrics
from callbacks.generation.pictures import to_bytes
from callbacks.results.presentation import LOWER, Presentation
from callbacks.results.result import Result
from metrics.frechet_distance import FrechetFeatureDistance
from networks.feature_networks import SMALL_NETWORK, SmallFeatures, inception
from visionscapes.checks import check_options
from visionscapes.processes import gather_entries


class FrechetDistance(ComparisonEvaluation):
    """Fréchet distance of generated and true images of an epoch, rounded to 8 bits (tables 5.1 to 5.5, 6.1 to 6.5).

    Protocol "frechet_distance", methods "image" and, of a generator that has it, "reconstruction"; of dubbed faces the
    settings "reconstruction" and "cross", each against the frames of its own videos; of reenacted people such as
    "K = 4", all against the same pictures. With the weights of Inception the
    metric is "FID"; without them it is "Frechet distance (dense-contrastive ViT)", that of the small ViT of this
    repository at the images' own resolution, which is not comparable with it. Both fall with the number of images,
    which the rows give: compare equal numbers alone, and more images than the network has features. The features of the
    true images are computed once in a run for validation and once for the test, whose data must not change in between.
    NaN for fewer than two images.

    Args:
        inception_weights: of torch-fidelity's Inception, pt_inception-2015-12-05: the path of a file, "download", or
            None for the small network.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: before the run, weights that are missing or do not fit.

    M. Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017.
    """

    protocol = "frechet_distance"
    takes_videos = True
    # A column beside the other figures of fidelity, as in table 5.4.
    presentation = Presentation("Fidelity to the true images", LOWER, ranked=False, joins="reconstruction")

    def __init__(self, inception_weights: str | None = None, validate: bool = True):
        check_options(FrechetDistance, locals())
        super().__init__(validate)
        self.inception_weights = inception_weights
        self._network: nn.Module | None = None
        # By whether it is the test, the method whose metric has summed it up, and size.
        self._real: dict[tuple[bool, str, int], dict[str, Tensor]] = {}
        self._first: dict[Key, str] = {}  # of methods that share their true images, the one that has seen them

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._real = {}
        if stage == "predict" or self._network is not None:
            return
        if self.inception_weights is not None:
            self._network = inception(self.inception_weights)
            return
        self._network = SmallFeatures()
        pl_module.print(f"no inception_weights: Fréchet distance of the {SMALL_NETWORK} in place of FID")

    @override
    def new_metric(self, key: Key) -> FrechetFeatureDistance:
        assert self._network is not None
        return FrechetFeatureDistance(self._network)

    @override
    def compare(self, trainer: Trainer, pl_module: LightningModule, compared: Compared) -> None:
        size = compared.truth.shape[-2]
        first = next(iter(compared.methods))
        if (trainer.testing, first, size) not in self._real:
            self.metric(pl_module, first, size).update(to_bytes(compared.truth), real=True)
        for method, images in compared.methods.items():
            self._first[method, size] = first
            self.metric(pl_module, method, size).update(to_bytes(images), real=False)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the distances of all methods the true images, of which the first has seen those of this process."""
        self._complete_metrics(pl_module.device)
        self._first = gather_entries(self._first)
        for (method, size), metric in self._metrics.items():
            assert isinstance(metric, FrechetFeatureDistance)
            first = self._first[method, size]
            seen = self._metrics[first, size]
            assert isinstance(seen, FrechetFeatureDistance)
            if (trainer.testing, first, size) not in self._real:
                self._real[trainer.testing, first, size] = seen.real_statistics()
            metric.take_real_statistics(self._real[trainer.testing, first, size])
        super().on_test_epoch_end(trainer, pl_module)

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        name = f"Frechet distance ({SMALL_NETWORK})" if self.inception_weights is None else "FID"
        rows = []
        for (method, size), metric in metrics.items():
            assert isinstance(metric, FrechetFeatureDistance)
            distance = float(metric.compute())
            rows.append(
                Result(
                    self.protocol,
                    name,
                    method,
                    image_size=size,
                    value=distance,
                    standard_error=float("nan"),
                    count=metric.images,
                )
            )
        return rows
