"""The plain way of training LSR, in a bare loop: what benchmarks/lsr.py compares with."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_modules.adversarial import discriminator_losses, frozen
from lightning_modules.lsr.module import LSR
from lightning_modules.lsr.network import Latents, RenderedHead, seen_shots
from lightning_modules.lsr.objective import scores_beside


@dataclass(frozen=True)
class Arrangement:
    """How a step is arranged; the defaults are the plain way.

    Attributes:
        forwards: passes of encoders and generators a step: 2 is one for each network's loss, 1 serves both.
        penalty_every: steps from one pair of penalties to the next, which weigh that much more.
        together: encode all shots in one batch, instead of the first of each person, then the second, and so on.
        bfloat16: compute in bfloat16 where autocast does, but for the penalties.
        channels_last: store feature maps with the channels last.
    """

    forwards: int = 2
    penalty_every: int = 1
    together: bool = False
    bfloat16: bool = False
    channels_last: bool = False


class BareLoop:
    """Trains copies of an LSR's networks: the discriminator steps, then the generator against what it has become.

    Args:
        module: whose networks, losses and settings are copied.
        batches: to train on, again and again.
        arrangement: of a step.
    """

    def __init__(self, module: LSR, batches: DataLoader, arrangement: Arrangement = Arrangement()):
        self.batches, self.iterator, self.arrangement, self.steps = batches, iter(batches), arrangement, 0
        self.module = copy.deepcopy(module).train()
        self.module.call_experts()
        self.format = torch.channels_last if arrangement.channels_last else torch.contiguous_format
        adam = module.optimizer
        networks = (self.module.generator, self.module.discriminator)
        for network in networks:
            network.to(memory_format=self.format)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), adam.lr, (adam.beta1, adam.beta2)) for network in networks
        ]

    def next_batch(self) -> dict[str, Tensor]:
        """Return the tensors of the next batch."""
        try:
            batch = next(self.iterator)
        except StopIteration:
            self.iterator = iter(self.batches)
            batch = next(self.iterator)
        return {name: each.to(self.module.device) for name, each in batch.items() if isinstance(each, Tensor)}

    def step(self) -> dict[str, float]:
        """Take a step of both networks; returns the terms of their losses."""
        batch = self.next_batch()
        truth = self.signed(batch["image"])
        with torch.set_grad_enabled(self.arrangement.forwards == 1):
            head, latents = self.reenact(batch)
        losses = self.discriminator_losses(batch, truth, head.image.detach())
        self.take(1, losses)
        if self.arrangement.forwards == 2:
            head, latents = self.reenact(batch)
        with frozen(self.module.discriminator), self.autocast():
            scores = scores_beside(self.module.discriminator, self.signed(batch["drawing"]))
            of_generator = self.module.objective().generator_losses(head.image, truth, latents, scores=scores)
        self.take(0, of_generator)
        if self.module.average is not None:
            self.module.average.update_parameters(self.module.generator)
        self.steps += 1
        return {name: float(value.detach()) for name, value in (losses | of_generator).items()}

    def reenact(self, batch: dict[str, Tensor]) -> tuple[RenderedHead, Latents]:
        """Return the people of a batch in the poses of its targets, and their codes."""
        network = self.module.generator
        with self.autocast():
            latents = (
                network.encode(batch["shots"], batch["shot_drawings"])
                if self.arrangement.together
                else encode_one_by_one(network, batch["shots"], batch["shot_drawings"])
            )
            return network.render(batch["drawing"], latents, batch.get("labels")), latents

    def discriminator_losses(self, batch: dict[str, Tensor], truth: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's terms, with the penalties if they are due."""
        every = self.arrangement.penalty_every
        scores = scores_beside(self.module.discriminator, self.signed(batch["drawing"]))
        due = self.steps % every == 0
        options = replace(self.module.adversarial, penalty_every=every)
        with self.autocast():
            return discriminator_losses(options, scores, truth, fake=fake, penalised=due)[0]

    def take(self, which: int, losses: dict[str, Tensor]) -> None:
        """Take a step of one network, 0 for the generator."""
        self.optimizers[which].zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        if (most := self.module.optimizer.clip) is not None:
            nn.utils.clip_grad_value_(self.optimizers[which].param_groups[0]["params"], most)
        self.optimizers[which].step()

    def signed(self, images: Tensor) -> Tensor:
        """Return images of [0, 1] in [-1, 1]."""
        return (2 * images - 1).to(memory_format=self.format)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which to compute."""
        return torch.autocast(self.module.device.type, torch.bfloat16, enabled=self.arrangement.bfloat16)


def encode_one_by_one(network: Any, shots: Tensor, drawings: Tensor) -> Latents:
    """Return the codes of people as `HeadNetwork.encode` does, one shot after the other.

    Args:
        network: a `HeadNetwork`.
        shots: (B, K, 3, S, S) in [0, 1].
        drawings: (B, K, 3, S, S) in [0, 1].
    """
    seen = seen_shots(shots, drawings, network.options.shot_landmarks)
    encoders = (None if network.layout is None else network.layout.encoder, network.style)
    codes = [
        None if encoder is None else torch.stack([encoder(shot) for shot in seen.unbind(1)]).mean(0)
        for encoder in encoders
    ]
    return Latents(*codes)
