"""The third stage of LSR as a training of its own: one person's shots, a network for that person (thesis 6.1.1.5)."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions
from lightning_modules.lsr.experts import HeadExpertOptions
from lightning_modules.lsr.fine_tuning import (
    FineTuningOptions,
    OwnShots,
    distance_to,
    kept_back,
    tuned_only,
    with_identity,
)
from lightning_modules.lsr.heads import EvaluationOptions
from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.module import DISCRIMINATOR, LSR
from lightning_modules.lsr.network import HeadNetworkOptions, Latents, Spatial
from lightning_modules.lsr.people import Person
from lightning_modules.lsr.stage_files import load_stage, told_by
from networks.gan.discriminators import DiscriminatorOptions
from visionscapes.checks import ImageSize, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of


class LSRFineTuning(LSR):
    """Fine-tunes a trained LSR on K shots of one person: G^l, G^s and the discriminator, not the encoders (6.1.1.5).

    Training batches are those of `HeadModule` for one person, of which the shots, always the same K, are all that is
    looked at: every step reconstructs one of them from the codes of all. The last one of several is kept back, the
    mirrored one of a single; the network that reconstructs it best is kept, and reenacts. Training ends after so many
    steps as the number of shots asks for, whatever the Trainer's limits, unless these come first.

    Args:
        classes: see `LSR`; this and what follows have to be as in the training of ``weights``.
        image_size: see `LSR`.
        spatial: see `LSR`; with "oracle" there is no fine-tuning.
        network: see `LSR`.
        losses: the weights of Eq. 6.4.
        experts: the frozen networks of the losses.
        discriminator: see `LSR`.
        adversarial: the game of the two.
        hardware: what makes it faster.
        evaluation: how people are reenacted in validation and test.
        finetune: how the network is fine-tuned.
        weights: file of the trained LSR, a checkpoint or weights, with its discriminator.

    Raises:
        UserError: see `LSR`; in ``setup`` also, to train without ``weights``.
    """

    fine_tuned = True
    started_from: ClassVar[str] = "weights"
    kept_distance: Tensor
    replaces_trainer_options: ClassVar[dict[str, str]] = {"gradient_clip_val": "--model.finetune.clip"}

    def __init__(
        self,
        classes: PositiveInt = 19,
        image_size: ImageSize = 224,
        spatial: Spatial = "layout",
        network: HeadNetworkOptions = HeadNetworkOptions(),
        losses: HeadLossOptions = HeadLossOptions(),
        experts: HeadExpertOptions = HeadExpertOptions(),
        discriminator: DiscriminatorOptions = DISCRIMINATOR,
        adversarial: AdversarialOptions = AdversarialOptions(r1=10.0, r2=10.0),
        hardware: HardwareOptions = HardwareOptions(),
        evaluation: EvaluationOptions = EvaluationOptions(),
        finetune: FineTuningOptions = FineTuningOptions(),
        weights: str | None = None,
    ):
        check_options(LSRFineTuning, locals())
        finetune = group_of(LSRFineTuning, "finetune", finetune)
        super().__init__(
            classes,
            image_size,
            spatial,
            network=group_of(LSRFineTuning, "network", network),
            losses=with_identity(group_of(LSRFineTuning, "losses", losses), finetune),
            experts=group_of(LSRFineTuning, "experts", experts),
            discriminator=group_of(LSRFineTuning, "discriminator", discriminator),
            adversarial=group_of(LSRFineTuning, "adversarial", adversarial),
            optimizer=finetune.optimizer(),
            hardware=group_of(LSRFineTuning, "hardware", hardware),
            evaluation=group_of(LSRFineTuning, "evaluation", evaluation),
            finetune=finetune,
        )
        for name in ("optimizer", "layout_weights"):  # of LSR, which this class does not take
            self.hparams.pop(name, None)  # the command line has not given it
        tuned_only(self.generator)
        if weights is not None:
            self.know_origin(told_by(weights, "LSR", self.started_from))
            load_stage(self.generator, weights, "LSR", discriminator=self.discriminator)
        self.kept = deepcopy(self.generator).requires_grad_(False)  # the best so far
        self.register_buffer("kept_distance", torch.tensor(torch.inf))  # of it to the shot that is kept back
        self._latents: Latents | None = None
        self._name: list[str] | None = None  # of the person whose they are
        self._steps: int | None = None

    @property
    @override
    def shown(self) -> Any:
        return self.kept

    @override
    def setup(self, stage: str) -> None:
        """Check that there is something to start from, and have training end after as many steps as wanted.

        Raises:
            UserError: it is to train without trained weights, the data are not one person's shots, or see
                ``HeadModule.setup``.
        """
        super().setup(stage)
        if stage != "fit":
            return
        started = self.loaded or bool(self.hparams.get("weights"))
        if not started and self.trainer.ckpt_path is None:
            raise UserError(
                "fine-tuning starts from a trained LSR, and none is given: give --model.weights <run folder of "
                "LSR>/checkpoints/last.ckpt"
            )
        self._steps = self.finetune.steps_of(self._number_of_shots())
        limit, given = self._steps * len(self._networks()), self.trainer.max_steps
        if given == -1 or given > limit:
            self.trainer.fit_loop.epoch_loop.max_steps = limit

    def _number_of_shots(self) -> int:
        shots = getattr(getattr(self.trainer, "datamodule", None), "shots", None)
        if not isinstance(shots, int):
            raise UserError(
                "fine-tuning takes the shots of one person, and the data do not say how many there are: take a "
                "datamodule for it, such as datamodules.HeadSubject"
            )
        return shots

    @override
    def schedule(self) -> Callable[[int], float]:
        assert self._steps is not None
        return self.finetune.schedule(self._steps)

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        seen, held = kept_back(shots_of(batch))
        latents = self.latents_of(batch)
        if self._batches() == 0:
            self.keep_if_better(held, latents)
        target = seen.one(self._batches())
        head = self.generator.render(target.drawings, latents)  # Eq. 6.3
        losses = self.losses_of(head, self.to_network(target.images), target.drawings, latents=latents)
        self.learn(losses, batch_idx, batch_size=1)
        if self.finetune.due(self._batches() + 1, self._steps or 0):
            self.keep_if_better(held, latents)

    def latents_of(self, batch: Mapping[str, Any]) -> Latents:
        """Return the codes of the shots, which are computed once: the encoders stay as they are.

        Raises:
            UserError: they are those of another person than before.
        """
        if self._latents is None:
            with torch.no_grad():
                self._latents = self.generator.encode(batch["shots"], batch["shot_drawings"])
            self._name = batch.get("name")
        elif batch.get("name") != self._name:
            raise UserError(
                f"fine-tuning takes the shots of one person, and the data have those of {self._name} and of "
                f"{batch.get('name')}: take a datamodule for one, such as datamodules.HeadSubject"
            )
        return self._latents

    @override
    def meet_tuned(self, shots: Tensor, drawings: Tensor, source: str = "") -> Person:
        raise UserError(
            "LSRFineTuning holds a network that was fine-tuned already: take LSR to fine-tune on other photographs, or "
            "--data.finetune=false and --model.evaluation.finetune=false"
        )

    @torch.no_grad()
    def keep_if_better(self, held: OwnShots, latents: Latents) -> None:
        """Keep the network as it is now if it reconstructs the shot that was kept back better than the one kept."""
        distance = distance_to(held, self.generator, latents, self.objective())
        self.log("train/kept_back", distance, batch_size=1)
        better = distance < self.kept_distance  # by `where`, or the host would wait for a GPU to know it
        self.kept_distance.copy_(torch.where(better, distance, self.kept_distance))
        for kept, now in zip(self.kept.parameters(), self.generator.parameters(), strict=True):
            kept.copy_(torch.where(better, now, kept))


def shots_of(batch: Mapping[str, Any]) -> OwnShots:
    """Return the shots of a training batch.

    Raises:
        UserError: the batch has more than one person.
    """
    if len(batch["shots"]) != 1:
        raise UserError(
            f"fine-tuning takes the shots of one person, and a batch has those of {len(batch['shots'])}: give "
            "--data.batch_size=1"
        )
    return OwnShots(batch["shots"][0], batch["shot_drawings"][0])
