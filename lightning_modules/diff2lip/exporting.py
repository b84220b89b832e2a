"""Diff2Lip as two networks of their own, and the sampling that calls them, in NumPy."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.diff2lip.mouth_view import MouthView
from lightning_modules.diff2lip.network import COLOURS, Conditions, LipNetwork
from networks.any_size import with_only
from networks.audio import MEL_BINS
from networks.sync_network import precise
from visionscapes.exporting.parts import Exportable, Input

MEL_STEPS = 16  # of a frame's sound
Array = NDArray[Any]  # of float32


class Listener(nn.Module):
    """E_Audio.

    Args:
        network: of Diff2Lip.
    """

    def __init__(self, network: LipNetwork):
        super().__init__()
        self.audio = network.audio

    @override
    def forward(self, mel: Tensor) -> Tensor:
        """Return vectors (N, D) of frames' sound (N, 80, 16)."""
        return self.audio(mel)


class Denoiser(nn.Module):
    """The UNet with what it sees as inputs.

    Args:
        network: of Diff2Lip.
    """

    def __init__(self, network: LipNetwork):
        super().__init__()
        self.network = with_only(network, "unet")

    @override
    def forward(
        self, noised: Tensor, step: Tensor, sound: Tensor, masked: Tensor, reference: Tensor, mask: Tensor
    ) -> Tensor:
        """Return predictions (N, 3, h, w) for noised frames at steps (N,) of the diffusion."""
        predicted = self.network(noised, step, sound, conditions=Conditions(masked, reference, mask))
        return precise(predicted[:, :COLOURS])


class OnePass(nn.Module):
    """The mouths of the baseline after Wav2Lip.

    Args:
        network: its generator.
        black: what stands in place of what is generated.
    """

    def __init__(self, network: LipNetwork, black: float):
        super().__init__()
        self.network, self.black = network, black

    @override
    def forward(self, frames: Tensor, reference: Tensor, mask: Tensor, mel: Tensor) -> Tensor:
        """Return the mouths (N, 3, h, w) in [-1, 1] of frames and references in [-1, 1]."""
        masked = frames * (1 - mask) + self.black * mask
        step = mask.new_zeros(mask.shape[0]).long()
        made = self.network(masked, step, self.network.embed(mel), conditions=Conditions(masked, reference, mask))
        return precise(made[:, :COLOURS]).tanh()


def view_inputs(view: MouthView) -> dict[str, Input]:
    """Return what networks see of a face beside its sound, as inputs by name.

    Args:
        view: of the faces.
    """
    region = ("batch", COLOURS, *view.shape)
    return {
        "masked": Input(shape=region, meaning="the region of frames, RGB, noise where the mask is 1", low=-1.0),
        "reference": Input(shape=region, meaning="the region of other frames of the same person, RGB", low=-1.0),
        "mask": Input(shape=("batch", 1, *view.shape), meaning="1 where it generates, 0 elsewhere; float"),
    }


def of_view(view: MouthView) -> dict[str, Any]:
    """Return plain values that say which part of a face networks see.

    Args:
        view: of the faces.
    """
    return {"face_size": view.face_size, "region": list(view.region.box(view.face_size)), "mask": view.mask}


def mel_input() -> Input:
    """Return the sound of frames as an input."""
    return Input(shape=("batch", MEL_BINS, MEL_STEPS), meaning="mel spectrograms of frames", low=-4.0, high=4.0)


def diffusion(
    network: LipNetwork, view: MouthView, schedule: list[tuple[int, float, float]], about: Mapping[str, Any]
) -> list[Exportable]:
    """Return sound encoder and UNet as they are exported.

    Args:
        network: of Diff2Lip.
        view: of the faces.
        schedule: see `sampled_by`.
        about: what else `sampled_by` has to know.
    """
    dim = network.unet.time_embedding.linear_2.out_features
    frames = Input(shape=("batch", COLOURS, *view.shape), meaning="noised frames", kind="normal", low=None, high=None)
    steps = Input(shape=("batch",), meaning="steps of the diffusion", kind="integers", low=0, high=about["steps"])
    sound = Input(
        shape=("batch", dim), meaning="what diff2lip_sound gives; zeros for none", kind="normal", low=None, high=None
    )
    about = {**of_view(view), **about, "schedule": schedule}
    return [
        Exportable(
            name="diff2lip_sound",
            network=Listener(network),
            inputs={"mel": mel_input()},
            outputs={"sound": "what the frames' sound says about the mouth"},
            about=about,
        ),
        Exportable(
            name="diff2lip_denoiser",
            network=Denoiser(network),
            inputs={"noised": frames, "step": steps, "sound": sound, **view_inputs(view)},
            outputs={"prediction": f"what is predicted of noised frames: {about['prediction']}"},
            about=about,
        ),
    ]


def one_pass(network: LipNetwork, view: MouthView, black: float) -> list[Exportable]:
    """Return the baseline after Wav2Lip as it is exported.

    Args:
        network: its generator.
        view: of the faces.
        black: what stands in place of what is generated.
    """
    inputs = view_inputs(view)
    inputs = {"frames": inputs.pop("masked"), **inputs, "mel": mel_input()}
    return [
        Exportable(
            name="wav2lip",
            network=OnePass(network, black),
            inputs=inputs,
            outputs={"mouths": "the region with new mouths, in [-1, 1]; outside the mask it does not matter"},
            about=of_view(view),
        )
    ]


def sampled_by(
    listen: Callable[[Array], Array],
    denoise: Callable[..., Array],
    about: Mapping[str, Any],
    *,
    frames: Array,
    reference: Array,
    mask: Array,
    mel: Array,
    noise: Array,
) -> Array:
    """Return the mouths that the exported networks make of noise: all steps of DDIM (Eq. 6.8), in NumPy.

    Args:
        listen: runs diff2lip_sound: mel spectrograms to vectors.
        denoise: runs diff2lip_denoiser, with its inputs in their order.
        about: the content of diff2lip_denoiser.json, whose "schedule" has (t, alpha-bar at t, alpha-bar at the step
            before) for every step.
        frames: (N, 3, h, w) in [-1, 1], the region of the faces.
        reference: (N, 3, h, w) in [-1, 1], other faces of the same people.
        mask: (N, 1, h, w), 1 where mouths are made.
        mel: (N, 80, 16), the sound of each frame.
        noise: (N, 3, h, w) from N(0, I), the same for all frames of a video to keep mouths from shaking.

    Returns:
        (N, 3, h, w) in about [-1, 1]; outside the mask it does not matter.
    """
    sound = listen(mel)
    masked = np.where(mask > 0, noise, frames)
    noised = noise
    for step, now, before in about["schedule"]:
        steps = np.full(len(noise), step, np.int64)
        predicted = denoise(noised, steps, sound, masked, reference, mask)
        if about["guidance"] != 1:
            without = denoise(noised, steps, np.zeros_like(sound), masked, reference, mask)
            predicted = without + np.float32(about["guidance"]) * (predicted - without)
        signal, scale = np.float32(now**0.5), np.float32((1 - now) ** 0.5)
        sample = _frames(about["prediction"], predicted, noised, signal, scale).clip(-1, 1)
        left = (noised - signal * sample) / scale  # the noise that leads to the clipped frames
        noised = np.float32(before**0.5) * sample + np.float32((1 - before) ** 0.5) * left
    return noised


def _frames(kind: str, predicted: Array, noised: Array, signal: np.float32, scale: np.float32) -> Array:
    """Return the frames themselves that a prediction means, see `diffusion.Diffusion.estimate`."""
    if kind == "sample":
        return predicted
    return (noised - scale * predicted) / signal if kind == "eps" else signal * noised - scale * predicted
