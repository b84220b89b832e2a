"""How well images are still attributed to their sources after JPEG, resizing and blur."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.results.presentation import SHARE, Presentation
from callbacks.results.result import Result, write_results
from callbacks.results.table import MISSING, Table
from callbacks.results.terminal import print_tables
from callbacks.source_discovery.corruptions import Change, blurred, changed, compressed, resized
from callbacks.source_discovery.discovery_evaluation import (
    AttributedImage,
    DiscoveryEvaluation,
    attributed_images,
    attributed_results,
    check_truth,
)
from callbacks.source_discovery.round_outcome import images_of
from visionscapes.checks import Bounds, PositiveFloat, check_options
from visionscapes.errors import UserError
from visionscapes.processes import gather_entries

AS_GIVEN = "as given"
SHOWN = ("named", "in", "out", "purity", "NMI", "ACC", "AUROC", "OSCR")


class AttributionRobustness(Callback):
    """Attributes the discovery images of ``test`` once more after JPEG, resizing and blur, each at several strengths.

    Protocol "robustness". The methods are the conditions: "as given", "JPEG <quality>", "resize <factor>" and
    "blur <sigma>"; the metrics those of `DiscoveryEvaluation` in ``test``. One table is printed, the rest stands in
    results/robustness.csv. Images are changed as the network sees them, at its size and 8 bits a channel. It costs one
    more pass of all images for each condition, and is not among the callbacks of any configuration.

    Args:
        jpeg: qualities, 1 to 100.
        resize: factors, below 1 down and above 1 up; bicubic, and bilinear back to the size of the network.
        blur: standard deviations of a Gaussian in pixels.

    Raises:
        UserError: an option is out of its bounds; a test without the true sources of the images, or of a module that
            attributes none.
    """

    protocol = "robustness"
    presentation = Presentation(
        "Robustness of the attribution", SHARE, DiscoveryEvaluation.presentation.kinds, ranked=False
    )

    def __init__(
        self,
        jpeg: list[Annotated[int, Bounds(least=1, most=100)]] = [90, 70, 50],  # noqa: B006 (read only, and the help shows it)
        resize: list[PositiveFloat] = [0.5, 0.75, 1.5],  # noqa: B006
        blur: list[PositiveFloat] = [0.5, 1.0, 2.0],  # noqa: B006
    ):
        check_options(AttributionRobustness, locals())
        self.jpeg, self.resize, self.blur = jpeg, resize, blur
        self.results: list[Result] = []
        self._attributed: dict[tuple[str, int], AttributedImage] = {}

    def changes(self) -> dict[str, Change]:
        """Return what is done to images, by the name of the condition."""
        return {
            **{f"JPEG {quality}": partial(compressed, quality=quality) for quality in self.jpeg},
            **{f"resize {factor:g}": partial(resized, factor=factor) for factor in self.resize},
            **{f"blur {sigma:g}": partial(blurred, sigma=sigma) for sigma in self.blur},
        }

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_truth(images_of(trainer, self))
        self._attributed = {}

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != "discovery":
            return
        if not isinstance(outputs, Mapping) or "known_margin" not in outputs:
            raise UserError(
                f"AttributionRobustness needs a module that attributes images, which {type(pl_module).__name__} does "
                "not: use it with GANDiscovery"
            )
        self._keep(AS_GIVEN, batch, outputs)
        for condition, change in self.changes().items():
            other = {**batch, "image": changed(batch["image"], change)}
            with trainer.precision_plugin.forward_context():
                asked: Any = pl_module.test_step(other, batch_idx)
            self._keep(condition, other, asked)

    def _keep(self, condition: str, batch: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        found = attributed_images(batch, outputs)
        self._attributed |= {(condition, number): image for number, image in found.items()}

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        attributed = gather_entries(self._attributed)
        if not attributed:
            return
        images = images_of(trainer, self)
        tested = sorted(number for condition, number in attributed if condition == AS_GIVEN)
        self.results = [
            replace(row, protocol=self.protocol, method=condition)
            for condition in (AS_GIVEN, *self.changes())
            for row in attributed_results(
                [attributed[condition, number] for number in tested], images.truth[tested], images
            )
        ]
        figures = {f"{self.protocol}/{row.metric}/{row.method}": row.value for row in self.results}
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")
            show(self.results)


def show(results: list[Result], console: Any = None) -> None:
    """Print a table with a row for every condition.

    Args:
        results: of ``AttributionRobustness``.
        console: a ``rich.console.Console``; that of the terminal if None.
    """
    kind_of = AttributionRobustness.presentation.kind_of
    found = {(row.method, row.metric): row for row in results}
    rows = []
    for condition in dict.fromkeys(row.method for row in results):
        values = ((metric, found[condition, metric].value) for metric in SHOWN)
        texts = [MISSING if value != value else kind_of(metric).text(value, float("nan")) for metric, value in values]
        rows.append([condition, *texts])
    table = Table.of_texts(AttributionRobustness.presentation.title, ["condition", *SHOWN], rows)
    print_tables([table], "%; JPEG by quality, resize by factor and back, blur by sigma in pixels", console)
