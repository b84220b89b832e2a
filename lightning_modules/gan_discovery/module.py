"""Open-world discovery and attribution of generated images (thesis chapter 4)."""

import logging
import os
from math import ceil
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader
from typing_extensions import override

from lightning_modules.gan_discovery.advice import of_images, of_size, of_steps
from lightning_modules.gan_discovery.attributor import Attributor
from lightning_modules.gan_discovery.exporting import attribution
from lightning_modules.gan_discovery.loss import class_balanced_cross_entropy, set_balanced_cross_entropy
from lightning_modules.gan_discovery.network import AttributionNetwork, AttributionNetworkOptions
from lightning_modules.gan_discovery.rounds import Extracted, Round, run_round
from lightning_modules.gan_discovery.stage_results import StageResults, computed_anew, digest
from lightning_modules.gan_discovery.stages import Stages
from lightning_modules.grouped_options import GroupedOptions
from networks.dense import check_finite
from visionscapes.checks import AnyInt, PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of
from visionscapes.processes import from_first, gather_objects, is_first, overwrite_by_first
from visionscapes.progress import track
from visionscapes.results import Attribution
from visionscapes.seeding import derived_seed

log = logging.getLogger(__name__)


class GANDiscovery(GroupedOptions):
    """Attributes images to known sources and groups the others by source, in rounds of training and discovery.

    One ``fit`` runs all rounds. A round trains the network on the labelled images and those clustered so far (Eq.
    4.1), attributes what lies within the sources and clusters known (4.2.3), over-clusters the rest (4.2.4), merges
    and refines the clusters (4.2.5). The next one starts with the network of the last and a new classifier (4.2.6).
    Data are a ``datamodules.SourceImages``. After every round ``on_round_end(trainer, module, round)`` is called of
    each callback that has it. The results of a round's stages outlive a kill where a callback keeps them,
    ``callbacks.StageFiles``.

    Args:
        network: what the network is made of.
        stages: how the stages of a round work.
        rounds: of training and discovery (4.3.3).
        epochs: of the first round (4.3.1); None: as many as ``steps`` take.
        epochs_later: of every other round (4.3.1); None: as many as ``steps_later`` take.
        steps: of the first round where ``epochs`` is not given, rounded up to whole epochs: of few images an epoch
            teaches little.
        steps_later: of every other round where ``epochs_later`` is not given, likewise.
        lr: learning rate of Adam, constant (4.3.1).
        balance: "sets", the mean over either set (Eq. 4.1), or "classes", as the official code weighs.
        freeze_from: round from which the backbone is kept but for its last stage (4.5.8.1); None: never.
        exact_norms: before a discovery, take the statistics of batch norms from all training images instead of a
            running average. Costs a pass without gradients; worth it where the rate is high and batches are small.
        seed: of hashes, k-means and classifiers; that of the run if None.

    Raises:
        UserError: a value that makes no sense; in ``fit``, data that this cannot learn from; in ``predict``, a module
            that has discovered nothing yet; weights that give features or logits that are no numbers.
    """

    _class_counts: Tensor

    takes = "datamodules.sources.given.GivenSources"
    gives = "Attribution: source, distance, margin and probability"

    def __init__(
        self,
        network: AttributionNetworkOptions = AttributionNetworkOptions(),
        stages: Stages = Stages(),
        rounds: PositiveInt = 4,
        epochs: PositiveInt | None = None,
        epochs_later: PositiveInt | None = None,
        steps: PositiveInt = 500,
        steps_later: PositiveInt = 250,
        lr: PositiveFloat = 1e-4,
        balance: Literal["sets", "classes"] = "sets",
        freeze_from: PositiveInt | None = None,
        exact_norms: bool = False,
        seed: AnyInt | None = None,
    ):
        check_options(GANDiscovery, locals())
        network, stages = group_of(GANDiscovery, "network", network), group_of(GANDiscovery, "stages", stages)
        stages.check_rounds(rounds)
        super().__init__()
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.stages, self.network = stages, AttributionNetwork(network, classes=1)
        self.rounds, self.epochs, self.epochs_later, self.lr = rounds, epochs, epochs_later, lr
        self.steps, self.steps_later = steps, steps_later
        self._batches: dict[int, int] = {}  # steps an epoch of the rounds that have begun
        self.balance, self.freeze_from, self.exact_norms = balance, freeze_from, exact_norms
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self.register_buffer("_class_counts", torch.zeros(1, dtype=torch.int64), persistent=False)
        self.labels = np.zeros(0, dtype=np.int64)  # of the discovery images present, after the last round that ended
        self.attributor: Attributor | None = None
        self.finished = 0  # rounds
        self.epoch_end_pending = False  # see callbacks.ReproducibleSteps
        self._names: str | None = None
        self._image_size: int | None = None  # that it was trained on; of checkpoints of earlier versions None
        self._told_sizes: set[int] = set()

    # ------------------------------------------------------------------------------------------------ training

    @override
    def on_fit_start(self) -> None:
        """Tell the data what is clustered so far, and the trainer how long all rounds take.

        Raises:
            UserError: the discovery images are not those that a round of the checkpoint has ended with, or fewer than
                clusters are asked for.
        """
        data = self.sources()
        self._check_clusters(len(data.discovery_names))
        names = digest(*data.discovery_names)
        if self._names is not None and self._names != names:
            if self.finished:
                raise UserError(
                    "the discovery images are not those that the checkpoint was made with: give the same folders, or "
                    "begin again without --resume and --ckpt_path"
                )
            self.print(
                "note: the discovery images have changed since the checkpoint; no round has ended, so that it goes on"
            )
        if self._names is None:
            self.network.new_classifier(len(data.classes), derived_seed(self.seed, 0))
        self._names = names
        self._tell_size(data.image_size)
        self._image_size = data.image_size
        self._limit = self.trainer.max_epochs
        self.relabel(self.finished + 1)
        if not self.finished:
            self._warn(of_steps(self.epochs_of(1) * self._batches[1], self.epochs))
            self._warn(of_images(len(data.discovery_names), self.stages))
        self._plan_epochs(told=True)
        if self.freeze_from is not None and self.round >= self.freeze_from:
            self.network.freeze_all_but_last_stage()

    def _plan_epochs(self, told: bool = False) -> None:
        """Have the trainer go on for all rounds, or as long as it was told to if that is shorter."""
        needed, given = self.last_epoch(self.rounds) + 1, self._limit
        if given is None or not 0 <= given < needed:
            self.trainer.fit_loop.max_epochs = needed
            return
        self.trainer.fit_loop.max_epochs = given
        if told:
            ends = [number for number in range(1, self.rounds + 1) if self.last_epoch(number) < given]
            self.print(
                f"note: --trainer.max_epochs={given} ends after {len(ends)} of {self.rounds} rounds, which take "
                f"{needed} epochs: --model.rounds, --model.steps or --model.epochs, and --model.steps_later or "
                "--model.epochs_later, make all of them shorter"
            )

    def _tell_size(self, size: int) -> None:
        """Warn, once for each size, of images of another one than was trained on."""
        if size not in self._told_sizes:
            self._told_sizes.add(size)
            self._warn(of_size(size, self._image_size))

    def _warn(self, message: str | None) -> None:
        if message is not None and is_first():
            log.warning(message)

    def check_data(self, data: Any) -> None:
        """Check that there will be more discovery images than clusters, where the data know before they are set up.

        Args:
            data: a datamodule; what it does not say is not checked.

        Raises:
            UserError: there are not.
        """
        if (count := getattr(data, "discovery_count", None)) is not None:
            self._check_clusters(count)

    def _check_clusters(self, images: int) -> None:
        """Refuse to ask k-means for more clusters than there are images, with which it never finds any."""
        for number in range(1, self.rounds + 1):
            k = self.stages.clusters_of(number)
            if k is not None and k >= images:
                raise UserError(
                    f"--model.stages.k is {k}, and there are {images} discovery images to cluster: it has to be far "
                    "below that"
                )

    def relabel(self, number: int) -> None:
        """Have the data dealt with the labels found so far, and count them for the loss and the length of a round.

        Args:
            number: of the round that they are for.
        """
        data = self.sources()
        data.relabel(self.labels)
        self._counts = data.counts()
        self._class_counts = torch.from_numpy(data.class_counts(self.network.classes)).to(self.device)
        batches, limit = len(data.train_dataloader()), self.trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        # A round that has begun keeps its length, whatever batches it goes on with.
        self._batches.setdefault(number, max(1, ceil(batches / self.trainer.accumulate_grad_batches)))

    @property
    def round(self) -> int:
        """Number of the round that is running, from 1."""
        number = 1
        while self.last_epoch(number) < self.current_epoch:
            number += 1
        return number

    def epochs_of(self, number: int) -> int:
        """Return the epochs of a round: as given, or as many as its steps take, of a round to come by the last one."""
        given, steps = (self.epochs, self.steps) if number == 1 else (self.epochs_later, self.steps_later)
        if given is not None:
            return given
        known = max((begun for begun in self._batches if begun <= number), default=None)
        return steps if known is None else ceil(steps / self._batches[known])

    def last_epoch(self, number: int) -> int:
        """Return the last epoch of a round, counted from 0."""
        return sum(map(self.epochs_of, range(1, number + 1))) - 1

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        logits = self.network.logits(self.network(batch["image"]))
        loss = self.loss(logits, batch["label"], batch["discovered"])
        size = len(logits)
        accuracy = (logits.argmax(1) == batch["label"]).float().mean()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        self.log("train/accuracy", accuracy, prog_bar=True, batch_size=size)
        return loss

    def loss(self, logits: Tensor, labels: Tensor, discovered: Tensor) -> Tensor:
        """Return Eq. 4.1, or the loss of the official code."""
        if self.balance == "sets":
            return set_balanced_cross_entropy(logits, labels, discovered, self._counts)
        return class_balanced_cross_entropy(logits, labels, self._class_counts)

    @override
    def on_train_epoch_start(self) -> None:
        """Leave the loader as it is until the round is over."""
        self.trainer.reload_dataloaders_every_n_epochs = 0  # type: ignore[attr-defined]

    @override
    def on_train_epoch_end(self) -> None:
        """Discover after the last epoch of a round."""
        if self.current_epoch == self.last_epoch(self.round) and self.finished < self.round:
            self.epoch_end_pending = True
            self.finish_round(self.round)
            self.epoch_end_pending = False

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    # ----------------------------------------------------------------------------------------------- discovery

    def finish_round(self, number: int) -> None:
        """Run the stages of a round, tell the callbacks and prepare the next one."""
        data = self.sources()
        if self.exact_norms:
            self.estimate_norms()
        labelled = self.extract(data.labelled_dataloader(), "labelled images")
        discovery = self.extract(data.discovery_dataloader(number), "discovery images")
        before = np.full(len(discovery.features), -1)
        before[: len(self.labels)] = self.labels  # images that arrived with this round have no label yet
        # Everything is computed once: threads of BLAS may add up in another order on another rank.
        result: Any = None
        if self.trainer.is_global_zero:
            kept = self.stage_results(number)
            seed = derived_seed(self.seed, number)
            names = list(data.classes)
            told = self.print, self._warn
            result = run_round(number, labelled, discovery, before, names, self.stages, seed, kept, *told)
        ended: Round
        ended, self.attributor = from_first(result)
        self.labels, self.finished = ended.labels, number
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if hasattr(callback, "on_round_end"):
                callback.on_round_end(self.trainer, self, ended)
        if number < self.rounds:
            self.begin_round(number + 1)

    def stage_results(self, number: int) -> StageResults:
        """Return what keeps the results of a round's stages: that of a callback such as ``callbacks.StageFiles``."""
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if hasattr(callback, "stage_results"):
                return callback.stage_results(self.trainer, number)
        return computed_anew

    def begin_round(self, number: int) -> None:
        """Take a new classifier and optimiser, and have the data dealt with the new labels."""
        data = self.sources()
        known = len(data.classes)
        self.network.new_classifier(max(known, int(self.labels.max()) + 1), derived_seed(self.seed, number, 1))
        for optimizer in self.trainer.optimizers:
            optimizer.state.clear()
        if number == self.freeze_from:
            self.network.freeze_all_but_last_stage()
        self.relabel(number)
        self._plan_epochs()
        self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]

    def estimate_norms(self) -> None:
        """Take the statistics of batch norms from all training images, which are dealt as in the epoch that ended."""
        loader = self.sources().train_dataloader()
        loader.sampler.set_epoch(self.current_epoch)
        batches = (self.trainer.strategy.batch_to_device(batch, self.device)["image"] for batch in loader)
        with self.trainer.precision_plugin.forward_context():
            update_bn(batches, self.network)
        overwrite_by_first(self.network.buffers())  # every rank has seen other images

    @torch.no_grad()
    def extract(self, loader: DataLoader, what: str) -> Extracted:
        """Return features, logits and labels of all images of a loader, in their order, on every rank."""
        training = self.training
        self.eval()
        parts: list[dict[str, np.ndarray]] = []
        for batch in track(loader, what, len(loader), shown=self.trainer.is_global_zero):
            moved = self.trainer.strategy.batch_to_device(batch, self.device)
            with self.trainer.precision_plugin.forward_context():
                found = dict(zip(("features", "logits"), self._seen(moved["image"]), strict=True))
            found |= {key: batch[key] for key in ("index", "label") if key in batch}
            parts.append({key: value.cpu().numpy() for key, value in found.items()})
        self.train(training)
        parts = [part for of_rank in gather_objects(parts) for part in of_rank]
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        order = joined.pop("index").argsort()
        return Extracted(**{key: value[order] for key, value in joined.items()})

    # ----------------------------------------------------------------------------------------- test and predict

    @override
    def on_predict_start(self) -> None:
        """Refuse to attribute before anything is known.

        Raises:
            UserError: no round has ended.
        """
        if self.attributor is None:
            raise UserError(
                "this module has finished no round and knows no source: train it first (fit), or give a checkpoint of "
                "a run that has finished a round, --ckpt_path <run folder>/checkpoints/last.ckpt"
            )

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return for every image its "name", "distance" (B,), "margin" (B,) and "probability" (B,).

        Of the known sources alone, "known" (B,) and "known_margin" (B,); see ``attributor.Attributor``.
        """
        assert self.attributor is not None
        self._tell_size(batch["image"].shape[-1])
        features, logits = self._seen(batch["image"])
        return self.attributor(features.cpu().numpy(), logits.cpu().numpy())

    def _seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, d) and logits (B, C) of images, both float32.

        Raises:
            UserError: some of them are infinite or not a number, with which everything is unknown.
        """
        features = self.network(images)
        logits = self.network.logits(features)
        both, precision = torch.cat([features, logits], 1), getattr(self._trainer, "precision", None)
        check_finite(both, "the network, with the weights of this run or checkpoint,", precision)
        return features.float(), logits.float()

    @override
    def answers(self, batch: dict[str, Any]) -> list[Attribution]:
        """Return where every image comes from.

        Raises:
            UserError: no round has ended.
        """
        self.on_predict_start()
        found = self.predict_step(batch, 0)
        figures = (found[key].tolist() for key in ("distance", "margin", "probability"))
        return [
            Attribution(name, distance, margin=margin, probability=probability)
            for name, distance, margin, probability in zip(found["name"], *figures, strict=True)
        ]

    # ``test`` attributes the discovery images as if they were new: images the rounds have never seen may be given.
    on_test_start = on_predict_start
    test_step = predict_step

    def exportable(self) -> list[Exportable]:
        """Return the network to export: images to features and logits."""
        return [attribution(self.network, None if self.attributor is None else self.attributor.names)]

    # --------------------------------------------------------------------------------------------- checkpoints

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the rounds have found."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["discovery"] = {
            "names": self._names,
            "image_size": self._image_size,
            "finished": self.finished,
            "labels": torch.from_numpy(self.labels),
            "classes": self.network.classes,
            "batches": dict(self._batches),
            "attributor": None if self.attributor is None else self.attributor.state(),
        }

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what the rounds have found."""
        state = checkpoint["discovery"]
        self._names, self.finished, self.labels = state["names"], state["finished"], state["labels"].numpy()
        self.network.classes = state["classes"]
        self._image_size = state.get("image_size")
        self._batches = dict(state.get("batches", {}))  # of earlier versions, whose rounds count epochs, there are none
        self.attributor = None if state["attributor"] is None else Attributor.of(state["attributor"])

    def sources(self) -> Any:
        """Return the data, a ``datamodules.SourceImages``.

        Raises:
            UserError: they are something else.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "discovery_dataloader"):
            raise UserError(
                f"GANDiscovery needs labelled and discovery images, which {type(data).__name__} has not: give "
                "--data=datamodules.SourceImages with --data.labelled and --data.discovery"
            )
        return data
