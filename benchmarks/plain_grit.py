"""The plain way of training GRIT, in a bare loop: what benchmarks/grit.py compares with."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_modules.grit.module import GRIT


@dataclass(frozen=True)
class Arrangement:
    """How a step is arranged; the defaults are the plain way.

    Attributes:
        forwards: passes of the generator a step: 2 is one for each network's loss, 1 serves both.
        penalty_every: steps from one penalty on real images to the next, which weighs that much more.
        bfloat16: compute in bfloat16 where autocast does, but for the penalty.
        channels_last: store feature maps with the channels last.
        compile: compile the generator.
    """

    forwards: int = 2
    penalty_every: int = 1
    bfloat16: bool = False
    channels_last: bool = False
    compile: bool = False


class BareLoop:
    """Trains copies of a GRIT's networks: the discriminator steps, then the generator against what it has become.

    Args:
        module: whose networks and settings are copied; its losses have to be the defaults.
        batches: to train on, again and again.
        arrangement: of a step.
    """

    def __init__(self, module: GRIT, batches: DataLoader, arrangement: Arrangement = Arrangement()):
        self.batches, self.iterator, self.arrangement = batches, iter(batches), arrangement
        self.device, self.settings, self.steps = module.device, dict(module.hparams), 0
        self.format = torch.channels_last if arrangement.channels_last else torch.contiguous_format
        copies = [copy.deepcopy(network) for network in (module.generator, module.discriminator)]
        self.generator, self.discriminator = (each.to(self.device, memory_format=self.format) for each in copies)
        if arrangement.compile:
            self.generator.compile()
        self.average = copy.deepcopy(module.generator).to(self.device) if self.settings["optimizer"]["ema"] else None
        adam = self.settings["optimizer"]
        self.optimizers = [
            torch.optim.Adam(network.parameters(), adam["lr"], (adam["beta1"], adam["beta2"]))
            for network in (self.generator, self.discriminator)
        ]

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Return conditions (B, C, S, S) and images (B, 3, S, S) of the next batch, in the networks' ranges."""
        try:
            batch = next(self.iterator)
        except StopIteration:
            self.iterator = iter(self.batches)
            batch = next(self.iterator)
        labels, images = batch["labels"].to(self.device), batch["image"].to(self.device)
        condition = F.one_hot(labels.long(), self.settings["classes"]).permute(0, 3, 1, 2).float()
        return condition.contiguous(memory_format=self.format), (2 * images - 1).to(memory_format=self.format)

    def step(self) -> dict[str, float]:
        """Take a step of both networks; returns the terms of their losses."""
        condition, truth = self.next_batch()
        with torch.set_grad_enabled(self.arrangement.forwards == 1):
            image, parts, code = self.translate(condition, truth)
        losses = self.discriminator_losses(condition, truth, image.detach())
        self.take(1, losses)
        if self.arrangement.forwards == 2:
            image, parts, code = self.translate(condition, truth)
        self.discriminator.requires_grad_(False)
        with self.autocast():
            adversarial = F.softplus(-self.discriminator(torch.cat([condition, image], 1))).mean()
        of_generator = {
            "adversarial": adversarial,
            "reconstruction": self.settings["lambda_rec"] * F.l1_loss(parts["reconstruction"], truth),
            "style": self.settings["lambda_z"] * code.square().mean(),
        }
        self.take(0, of_generator)
        self.discriminator.requires_grad_(True)
        self.move_average()
        self.steps += 1
        return {name: float(value.detach()) for name, value in (losses | of_generator).items()}

    def translate(self, condition: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the images, their components and the style codes."""
        with self.autocast():
            code = self.generator.style(truth, condition)
            return *self.generator(condition, code), code

    def discriminator_losses(self, condition: Tensor, truth: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's terms, with the penalty if it is due."""
        due = self.steps % self.arrangement.penalty_every == 0
        real = truth.clone().requires_grad_(due)
        with self.autocast(not due):
            of_real = self.discriminator(torch.cat([condition, real], 1))
        with self.autocast():
            of_fake = self.discriminator(torch.cat([condition, fake], 1))
            losses = {"discriminator": F.softplus(-of_real).mean() + F.softplus(of_fake).mean()}
        if due:
            (slope,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
            weight = self.arrangement.penalty_every * self.settings["adversarial"]["r1"] / 2
            losses["r1"] = weight * slope.square().sum((1, 2, 3)).mean()
        return losses

    def take(self, which: int, losses: dict[str, Tensor]) -> None:
        """Take a step of one network, 0 for the generator."""
        self.optimizers[which].zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizers[which].step()

    @torch.no_grad()
    def move_average(self) -> None:
        """Move the average of the generator, if there is one."""
        if self.average is not None:
            for average, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                average.lerp_(value, 1 - self.settings["optimizer"]["ema"])

    def autocast(self, wanted: bool = True) -> AbstractContextManager[Any]:
        """Return the context in which to compute."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.arrangement.bfloat16 and wanted)
