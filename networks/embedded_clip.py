"""A whole clip as a SyncNet sees it: the embeddings of all windows of its frames and of their sound."""

from typing import NamedTuple

import torch
from torch import Tensor

from networks.audio import WINDOW_FRAMES, mel_windows, whole_windows
from networks.sync_network import SyncNetwork


class EmbeddedClip(NamedTuple):
    """A clip's windows, V of them, one for every frame s with which five whole frames and their sound begin.

    Attributes:
        name: of the clip.
        video: (V, D) float32 embeddings of unit length of the frames s to s + 4.
        audio: (V, D) float32 of their sound.
        known: (V,) bool, windows that show a face throughout.
        threshold: the cosine from which on a pair more likely belongs together than not.
        frames: T, of the clip.
        faces: share of the frames with a face, in [0, 1]; 0 without a frame.
    """

    name: str
    video: Tensor
    audio: Tensor
    known: Tensor
    threshold: float
    frames: int
    faces: float


@torch.no_grad()
def embedded_clip(network: SyncNetwork, name: str, faces: Tensor, mel: Tensor, found: Tensor) -> EmbeddedClip:
    """Return a clip's embeddings.

    Args:
        network: in evaluation mode.
        name: of the clip.
        faces: (T, 3, S, S) uint8 RGB.
        mel: (80, M) in [-4, 4].
        found: (T,) bool, frames with a face.
    """
    video, audio = embed_clip(network, faces, mel)
    known = window_is_known(found.to(video.device), len(video))
    share = float(found.float().mean()) if len(found) else 0.0
    return EmbeddedClip(name, video, audio, known=known, threshold=network.threshold(), frames=len(faces), faces=share)


@torch.no_grad()
def embed_clip(network: SyncNetwork, faces: Tensor, mel: Tensor, chunk: int = 64) -> tuple[Tensor, Tensor]:
    """Return the embeddings of all windows of a clip, computed in chunks, so that memory does not grow with them.

    Args:
        network: in evaluation mode.
        faces: (T, 3, S, S) uint8 RGB; may lie on another device than the network.
        mel: (80, M) in [-4, 4].
        chunk: windows at once.

    Returns:
        (V, D) and (V, D) float32 of unit length on the network's device: of the frames s to s + 4, and of their sound,
        for every start s of which both are there in full.
    """
    parameter = next(network.parameters())
    device, dtype = parameter.device, parameter.dtype  # the latter for --trainer.precision=64-true and bf16-true
    windows = whole_windows(len(faces), mel.shape[1])
    video, audio = [torch.zeros(0, network.dim, device=device)], [torch.zeros(0, network.dim, device=device)]
    for start in range(0, windows, chunk):
        stop = min(start + chunk, windows)
        frames = faces[start : stop + WINDOW_FRAMES - 1].to(device, dtype) / 255
        halves = network.lower_halves(frames).unfold(0, WINDOW_FRAMES, 1).movedim(-1, 1)
        video.append(network.embed_halves(halves))
        audio.append(network.embed_sound(mel_windows(mel, range(start, stop)).to(device, dtype)))
    return torch.cat(video), torch.cat(audio)


def window_is_known(found: Tensor, windows: int) -> Tensor:
    """Return for each window (V,) bool whether all its frames show a face, by ``found`` (T,) bool."""
    if not windows:
        return found.new_zeros(0)
    return found[: windows + WINDOW_FRAMES - 1].unfold(0, WINDOW_FRAMES, 1).all(1)
