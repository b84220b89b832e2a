"""The plain way of sampling and training Diff2Lip: what benchmarks/diff2lip.py compares with."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.diff2lip.diffusion import frame_noise
from lightning_modules.diff2lip.module import Diff2Lip
from lightning_modules.diff2lip.network import COLOURS, Conditions
from networks.audio import WINDOW_FRAMES


@torch.no_grad()
def plain_dub(module: Diff2Lip, faces: Tensor, reference: Tensor, frame_mel: Tensor) -> Tensor:
    """Return the patches (T, 3, h, w) in [-1, 1] of dubbed faces, as the authors' code arranges the work.

    One window of five frames after the other; at every step the network encodes the sound again and puts its conditions
    together again.

    Args:
        module: whose network and sampling are used.
        faces: (T, 3, S, S) in [0, 1].
        reference: (T, 3, S, S).
        frame_mel: (T, 80, 16).
    """
    network, options = module.shown, module.sampling
    made = []
    for start in range(0, len(faces), WINDOW_FRAMES):
        window = slice(start, start + WINDOW_FRAMES)
        inputs, person = module.view.signed(faces[window]), module.view.signed(reference[window])
        index = torch.arange(start, start + len(inputs))
        noise = frame_noise(module.view.shape, index, seed=options.noise_seed, kind=options.noise).to(inputs)
        mask = module.view.masks(inputs, None)
        scheduler = module.diffusion.scheduler(options.steps, options.spacing)
        frames = noise
        for step in scheduler.timesteps.tolist():
            masked = inputs * (1 - mask) + noise * mask
            sound = network.embed(frame_mel[window])
            at = torch.full((len(inputs),), step, device=inputs.device)
            predicted = network(frames, at, sound, conditions=Conditions(masked, person, mask))[:, :COLOURS]
            frames = scheduler.step(predicted, step, frames, use_clipped_model_output=True).prev_sample
        made.append(frames * mask + inputs * (1 - mask))
    return torch.cat(made).clamp(-1, 1)


class PlainStep:
    """Trains copies of a Diff2Lip's networks: the discriminator steps, then the generator, which runs for each anew.

    Args:
        module: whose networks are copied.
    """

    def __init__(self, module: Diff2Lip):
        self.module = copy.deepcopy(module)
        adam = module.optimizer
        self.optimizers = [
            torch.optim.Adam(network.parameters(), adam.lr, (adam.beta1, adam.beta2))
            for network in (self.module.generator, self.module.discriminator)
            if isinstance(network, nn.Module)
        ]

    def __call__(self, batch: Mapping[str, Any]) -> None:
        """Take a step of both networks."""
        module = self.module
        windows = module.windows_of(batch)
        generator, *others = self.optimizers
        for discriminator in others:
            with torch.no_grad():
                frames = module.denoise(windows).frames
            self._step(discriminator, module.discriminator_losses(windows, frames))
        denoised = module.denoise(windows)
        self._step(generator, module.generator_losses(windows, denoised))
        if module.average is not None:
            module.average.update_parameters(module.generator)

    def _step(self, optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> None:
        self.module.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
