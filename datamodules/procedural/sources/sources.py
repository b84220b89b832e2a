"""Sources of pictures: four and four kinds of content, each real or made by small generators of several architectures.

The world has the shape of the thesis' data (tables 4.1, 4.5 to 4.7, 4.10 and 4.22), so that its experiments can be
asked of it; the generators are decoders with fixed random weights and none of the GANs that the letters stand for:

| here | stands for | here | stands for | here | stands for |
|---|---|---|---|---|---|
| faces | CelebA | portraits | CelebA-HQ | objects | ImageNet |
| rooms | LSUN bedrooms | textures | DTD | photographs | FashionGen |
| nights | Night | crowds | Shoes | | |
| a | StarGAN | b | AttGAN | c | BEGAN |
| d | ProGAN | e | SNGAN | f | MMDGAN |
| g | CramerGAN | h | StyleGAN | i | ResNet19 |
| j | BigGAN | k | S3GAN | l | SSGAN |
| m | StarGAN-v2 | n | DCGAN | o | Pix2Pix |

A source is named "<content>_real", "<content>_decoder_<letter>" or, for a second seed of an architecture,
"<content>_decoder_<letter>_seed_2". With a diffusion model there are sources "<content>_diffusion" too, whose pictures
show what it has learned from a real source instead of the contents themselves; no setting has them.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.procedural.scenes.scenes import generator
from datamodules.procedural.sources.contents import render_contents
from datamodules.procedural.sources.generators import ZOOM, Architecture, Decoder, camera, capture

# Pictures are rendered in blocks of this many, and always whole blocks: in another block, a convolution may sum in
# another order and a pixel fall on the other side of a rounding.
BLOCK = 8
WEIGHTS, CAPTURE = 9, 10  # streams of random numbers, apart from those of scenes and of contents
Diffusion = Callable[[str, Sequence[np.random.Generator], int], Tensor]  # content, B generators, side -> pictures
APART = 100_000_000  # more than the pictures of a source
ARCHITECTURES = {
    "a": Architecture("nearest", 2, 3, activation="relu"),
    "b": Architecture("transposed", 2, 3, activation="tanh"),
    "c": Architecture("nearest", 4, 3, activation="leaky"),
    "d": Architecture("bilinear", 2, 5, activation="leaky"),
    "e": Architecture("transposed", 4, 3, activation="relu"),
    "f": Architecture("shuffle", 2, 3, activation="sine"),
    "g": Architecture("bilinear", 4, 3, activation="tanh"),
    "h": Architecture("bilinear", 2, 3, activation="sine"),
    "i": Architecture("nearest", 2, 5, activation="tanh"),
    "j": Architecture("shuffle", 4, 3, activation="relu"),
    "k": Architecture("transposed", 2, 5, activation="leaky"),
    "l": Architecture("nearest", 4, 5, activation="sine"),
    "m": Architecture("shuffle", 2, 5, activation="tanh"),
    "n": Architecture("transposed", 4, 5, activation="sine"),
    "o": Architecture("bilinear", 4, 5, activation="relu"),
}


@dataclass(frozen=True)
class SourceSetting:
    """Which sources there are.

    Attributes:
        labelled: with labelled pictures.
        discovery: of which pictures are to be discovered from the first round on.
        arrivals: the sources whose pictures come later, by the round in which they come.
    """

    labelled: tuple[str, ...]
    discovery: tuple[str, ...]
    arrivals: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def _of(content: str, makers: str) -> tuple[str, ...]:
    """Return names: "r" is real, other letters are architectures."""
    return tuple(f"{content}_real" if maker == "r" else f"{content}_decoder_{maker}" for maker in makers)


def _all(**makers: str) -> tuple[str, ...]:
    return tuple(name for content, letters in makers.items() for name in _of(content, letters))


_KNOWN = _all(faces="rab", portraits="rdh", objects="rjk", rooms="rdf")  # table 4.1
_UNKNOWN = _all(faces="cdefg", portraits="i", objects="e", rooms="e")
_NEW_REAL = _all(textures="r", photographs="r", nights="r", crowds="r")  # section 4.3.4.2
_NEW_GANS = _all(textures="d", photographs="n", nights="o", crowds="o")
_FEW = _all(faces="rac", portraits="rdi", objects="rje", rooms="rfg")  # discovery of table 4.5: 12 sources
_ONLINE = _all(faces="rcdfg", portraits="rd", objects="re", rooms="rdfg")  # table 4.10
SETTINGS = {
    "default": SourceSetting(_KNOWN, _KNOWN + _UNKNOWN),
    "supervised": SourceSetting(_KNOWN + _UNKNOWN, _KNOWN + _UNKNOWN),
    "gans_0": SourceSetting(_all(faces="r", portraits="r", objects="r", rooms="r"), _FEW),
    "gans_1": SourceSetting(_all(faces="ra", portraits="rd", objects="rj", rooms="rf"), _FEW),
    "gans_2": SourceSetting(_KNOWN, _FEW),
    "new_real": SourceSetting(_KNOWN, _KNOWN + _NEW_REAL),
    "new_gans": SourceSetting(_KNOWN, _KNOWN + _NEW_GANS),
    "new_both": SourceSetting(_KNOWN, _KNOWN + _NEW_REAL + _NEW_GANS),
    "new_real_starred": SourceSetting(_KNOWN + _NEW_REAL, _KNOWN + _NEW_REAL),
    "new_gans_starred": SourceSetting(_KNOWN + _NEW_REAL, _KNOWN + _NEW_GANS),
    "new_both_starred": SourceSetting(_KNOWN + _NEW_REAL, _KNOWN + _NEW_REAL + _NEW_GANS),
    "online": SourceSetting(
        _ONLINE,
        _ONLINE + _all(faces="abe", rooms="e"),
        {3: _all(objects="jl", portraits="h"), 5: _all(portraits="im", objects="k")},
    ),
    "seeds": SourceSetting(_KNOWN, _KNOWN + _UNKNOWN + ("faces_decoder_d_seed_2", "rooms_decoder_d_seed_2")),
}


def is_real(source: str) -> bool:
    """Return whether a source of this world is a camera."""
    return source.endswith("_real")


def render_source(
    seed: int, source: str, first: int, count: int, size: int, diffusion: Diffusion | None = None
) -> NDArray[np.uint8]:
    """Render pictures ``first`` to ``first + count - 1`` of a source, (count, size, size, 3) uint8 RGB.

    Every picture is a function of (seed, source, its number, size).

    Args:
        seed: of the world: of what the pictures show, of the weights of the generators, and of the capture.
        source: a name as described above.
        first: number of the first picture.
        count: how many.
        size: side in pixels.
        diffusion: model of a source "<content>_diffusion", as `diffusion.PictureDiffusion` is.
    """
    content, maker, *_ = source.split("_")
    letter = source.split("_")[2] if maker == "decoder" else ""
    side = -(-int(size * ZOOM + 5) // 4) * 4  # what the capture needs, and four divides it for the decoders
    blocks = []
    for block in range(first // BLOCK, -(-(first + count) // BLOCK)):
        numbers = [zlib.crc32(source.encode()) * APART + index for index in range(block * BLOCK, (block + 1) * BLOCK)]
        rngs = [generator(seed, number, CAPTURE) for number in numbers]
        with torch.no_grad():
            if maker == "diffusion":
                assert diffusion is not None, "the source of a diffusion model needs the model"
                made = diffusion(content, rngs, side)
            else:
                shown = render_contents(content, seed, numbers, side)
                made = _decoder(seed, source, letter)(shown) if letter else camera(shown, rngs)
            blocks.append(capture(made, rngs, size))
    skipped = first % BLOCK
    return np.concatenate(blocks)[skipped : skipped + count]


@cache
def _decoder(seed: int, source: str, letter: str) -> Decoder:
    return Decoder(ARCHITECTURES[letter], generator(seed, zlib.crc32(source.encode()), WEIGHTS))
