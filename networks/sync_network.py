"""SyncNet: says whether a mouth and a sound belong together, as the cosine of two embeddings."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.audio import WINDOW_FRAMES
from networks.weights import load_state, read_metadata, read_state_dict
from visionscapes.checks import Bounds, NonNegativeInt, check_options
from visionscapes.errors import UserError, in_words

Norm = Literal["batch", "group"]
Probability = Literal["cosine", "half", "sigmoid"]
SMALLEST, LARGEST = 24, 768  # pixels
_CHANNELS = (2, 4, 8, 16)  # of the halving levels, in multiples of the width; the last one again from there on
_RESIDUALS = (2, 3, 2, 2)  # layers after the first one of a level; none beyond these levels
_START = 10.0  # of the scale of "sigmoid"


class SyncLayer(nn.Module):
    """A convolution, a normalisation, the input added where it is a residual layer, and an activation.

    Args:
        channels: of input and output.
        kernel: side of the kernel.
        stride: vertical and horizontal.
        padding: zeros around the input.
        norm: "batch" with ReLU as in Wav2Lip, or "group" with SiLU as in LatentSync.
        residual: whether the input is added before the activation.
        activation: in place of the one that goes with ``norm``.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        *,
        kernel: int = 3,
        stride: tuple[int, int] = (1, 1),
        padding: int = 1,
        norm: Norm = "batch",
        residual: bool = False,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        inputs, outputs = channels
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.norm = nn.BatchNorm2d(outputs) if norm == "batch" else nn.GroupNorm(math.gcd(outputs // 4, 8), outputs)
        self.activation = activation or (nn.ReLU() if norm == "batch" else nn.SiLU())
        self.residual = residual

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, h, w) for x (N, inputs, H, W)."""
        out = self.norm(self.conv(x))
        return self.activation(out + x if self.residual else out)


class SyncNetwork(nn.Module):
    """Embeds five frames of a mouth and the 200 ms of sound that go with them, so that they agree where they fit.

    The defaults are the architecture of Wav2Lip (Prajwal et al., ACM Multimedia 2020), which the thesis trains its
    expert with (6.2.1.3). Faces may come in any size: their lower halves are taken and resized inside.

    Args:
        image_size: side of the faces that it is built for, 3 * 2^k pixels; a face's lower half becomes
            (image_size / 2, image_size).
        width: channels of the first layers; embeddings have 16 times as many.
        norm: "batch" with ReLU (Wav2Lip), or "group" with SiLU (LatentSync's StableSyncNet), which does not depend on
            the batch.
        residuals: at most so many residual layers in a level; Wav2Lip has up to 3.
        nonnegative: whether a last ReLU keeps embeddings from being negative, so that cosines are in [0, 1].
        probability: how a cosine becomes the probability that picture and sound belong together: "cosine" is the
            cosine itself (Wav2Lip), "half" (1 + cosine) / 2, "sigmoid" sigmoid(a cosine + b) with a and b learned.

    Attributes:
        dim: D, length of the embeddings.
        options: all of the above, with which another one like this can be made.

    Raises:
        UserError: an image size that halving does not bring to 3, or "cosine" with embeddings that may be negative.
    """

    def __init__(
        self,
        image_size: Annotated[int, Bounds(least=SMALLEST, most=LARGEST)] = 96,
        width: Annotated[int, Bounds(least=4)] = 32,
        norm: Norm = "batch",
        residuals: NonNegativeInt = 3,
        nonnegative: bool = True,
        probability: Probability = "cosine",
    ):
        check_options(SyncNetwork, locals())
        halvings = round(math.log2(image_size / 3))
        if 3 * 2**halvings != image_size:
            sizes = [3 * 2**k for k in range(3, 9)]
            raise UserError(f"SyncNetwork.image_size is {image_size}; it has to be 3 times a power of two, of {sizes}")
        if probability == "cosine" and not nonnegative:
            raise UserError(
                "SyncNetwork.probability is 'cosine', but without nonnegative a cosine may be below 0, which is no "
                "probability: take 'half' or 'sigmoid'"
            )
        super().__init__()
        self.options: dict[str, Any] = {
            "image_size": image_size,
            "width": width,
            "norm": norm,
            "residuals": residuals,
            "nonnegative": nonnegative,
            "probability": probability,
        }
        self.image_size, self.dim, self.probability_of = image_size, 16 * width, probability
        self.faces = _face_branch(width, halvings, norm, residuals, nonnegative)
        self.sound = _sound_branch(width, norm, residuals, nonnegative)
        if probability == "sigmoid":
            self.scale, self.shift = nn.Parameter(torch.tensor(_START)), nn.Parameter(torch.tensor(-_START / 2))
        self._frozen = False

    def embed_faces(self, faces: Tensor) -> Tensor:
        """Return embeddings (N, D) float32 of unit length of windows of faces (N, 5, 3, S, S) RGB in [0, 1]."""
        return self.embed_halves(self.lower_halves(faces))

    def lower_halves(self, faces: Tensor) -> Tensor:
        """Return the lower halves (..., 3, image_size / 2, image_size) of faces (..., 3, H, W) in [0, 1]."""
        halves = faces[..., faces.shape[-2] // 2 :, :]
        size = (self.image_size // 2, self.image_size)
        if halves.shape[-2:] == size:
            return halves
        flat = halves.flatten(0, -4)
        # In float32, for on a CPU there is no antialiasing in bfloat16.
        resized = F.interpolate(precise(flat), size, mode="bilinear", antialias=True, align_corners=False).to(flat)
        return resized.unflatten(0, halves.shape[:-3])

    def embed_halves(self, halves: Tensor) -> Tensor:
        """Return embeddings (N, D) of unit length, float32 at least, of ``lower_halves`` (N, 5, 3, h, w)."""
        return F.normalize(precise(self.faces(halves.flatten(1, 2)).flatten(1)), dim=1)

    def embed_sound(self, mel: Tensor) -> Tensor:
        """Return embeddings (N, D) float32 of unit length of mel windows (N, 80, 16) in [-4, 4]."""
        return F.normalize(precise(self.sound(mel[:, None]).flatten(1)), dim=1)

    def logit(self, cosine: Tensor) -> Tensor:
        """Return the logit of ``probability``, finite, and in float32 or, of cosines in float64, in float64."""
        cosine = precise(cosine)
        if self.probability_of == "sigmoid":
            return precise(self.scale) * cosine + precise(self.shift)
        # A cosine may leave its range by rounding, and at its ends the logarithms would be infinite.
        return torch.logit(cosine if self.probability_of == "cosine" else (1 + cosine) / 2, eps=1e-7)

    def probability(self, cosine: Tensor) -> Tensor:
        """Return the probability in (0, 1) that picture and sound belong together, for any shape of cosines."""
        return self.logit(cosine).sigmoid()

    def threshold(self) -> float:
        """Return the cosine from which on the probability is above one half."""
        if self.probability_of == "sigmoid":
            return float(-self.shift.detach() / self.scale.detach())
        return 0.5 if self.probability_of == "cosine" else 0.0

    def effective_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the output depends on: all but the biases that a batch norm takes away again.

        Such a bias has nothing but rounding errors for a gradient, of which Adam would make full steps. It is there
        because Wav2Lip's files have it.
        """
        useless = {
            layer.conv.bias
            for layer in self.modules()
            if isinstance(layer, SyncLayer) and isinstance(layer.norm, nn.BatchNorm2d)
        }
        return [parameter for parameter in self.parameters() if parameter not in useless]

    def freeze(self) -> "SyncNetwork":
        """Keep weights and batch statistics as they are for good, also where a module around it is put to training.

        Gradients still pass to the faces, which is what a generator needs of its expert.
        """
        self.requires_grad_(False)
        self._frozen = True
        return self.eval()

    @override
    def train(self, mode: bool = True) -> "SyncNetwork":
        return super().train(mode and not self._frozen)

    @override
    def forward(self, faces: Tensor, mel: Tensor) -> Tensor:
        """Return the cosine (N,) float32 of faces (N, 5, 3, S, S) and mel windows (N, 80, 16)."""
        return (self.embed_faces(faces) * self.embed_sound(mel)).sum(1)

    def load(self, state: Mapping[str, Tensor], source: str = "the file") -> None:
        """Load weights, strictly: our own names, also below "network.", or those of Wav2Lip's files.

        Args:
            state: name to tensor. Wav2Lip's networks have read BGR; the channels of the first layer are put in order.
            source: what the weights come from, for the message.

        Raises:
            UserError: names or shapes do not fit, or weights are not finite.
        """
        if any(name.startswith("network.") for name in state):
            state = {k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}
        if _is_wav2lip(state):
            state = _from_wav2lip(state)
        load_state(self, state, source)
        if broken := [name for name, value in state.items() if not value.isfinite().all()]:
            raise UserError(
                f"{source} holds weights that are no finite numbers, such as {broken[0]}: take those of a training"
                " whose loss stayed finite"
            )

    @classmethod
    def from_file(cls, path: str | Path) -> "SyncNetwork":
        """Return the frozen network of a file that knows its own options, such as weights/syncnet.safetensors.

        A file of Wav2Lip's, which knows none, holds the network that the defaults describe.

        Raises:
            UserError: the file cannot be read, or is of another kind.
        """
        metadata = read_metadata(path)
        if not metadata and _is_wav2lip(state := read_state_dict(path)):
            network = cls()
            network.load(state, f"'{path}'")
            return network.freeze()
        if "image_size" not in metadata or metadata.get("norm") not in get_args(Norm):
            raise UserError(f"'{path}' does not say which SyncNet it holds: give a file that a run of SyncNet has left")
        try:
            whole: dict[str, Any] = {key: int(metadata[key]) for key in ("image_size", "width", "residuals")}
            words: dict[str, Any] = {key: metadata[key] for key in ("norm", "probability")}
            network = cls(**whole, **words, nonnegative=metadata["nonnegative"] == "True")
        except (KeyError, ValueError) as error:
            raise UserError(
                f"'{path}' says of its SyncNet what cannot be read ({in_words(error)}): give a file that a run of"
                " SyncNet has left"
            ) from error
        network.load(read_state_dict(path), f"'{path}'")
        return network.freeze()


def precise(x: Tensor) -> Tensor:
    """Return numbers in float32, or in float64 if that is what they are in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _face_branch(width: int, halvings: int, norm: Norm, residuals: int, nonnegative: bool) -> nn.Sequential:
    layers: list[nn.Module] = [SyncLayer((3 * WINDOW_FRAMES, width), kernel=7, padding=3, norm=norm)]
    inputs = width
    for level in range(halvings):
        outputs = width * _CHANNELS[min(level, len(_CHANNELS) - 1)]
        # The half is twice as wide as high: the first halving is of its width alone.
        first = {"kernel": 5, "stride": (1, 2)} if level == 0 else {"stride": (2, 2)}
        layers.append(SyncLayer((inputs, outputs), norm=norm, **first))  # type: ignore[arg-type]
        more = min(residuals, _RESIDUALS[level] if level < len(_RESIDUALS) else 0)
        layers += [SyncLayer((outputs, outputs), norm=norm, residual=True) for _ in range(more)]
        inputs = outputs
    return nn.Sequential(*layers, *_ending(inputs, 16 * width, norm, nonnegative))


def _sound_branch(width: int, norm: Norm, residuals: int, nonnegative: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 1
    for factor, stride in ((1, (1, 1)), (2, (3, 1)), (4, (3, 3)), (8, (3, 2))):
        layers.append(SyncLayer((inputs, factor * width), stride=stride, norm=norm))
        inputs = factor * width
        layers += [SyncLayer((inputs, inputs), norm=norm, residual=True) for _ in range(min(residuals, 2))]
    return nn.Sequential(*layers, *_ending(inputs, 16 * width, norm, nonnegative))


def _ending(inputs: int, dim: int, norm: Norm, nonnegative: bool) -> list[nn.Module]:
    """Return the layers that make 3x3 cells one, and that one an embedding."""
    last = nn.ReLU() if nonnegative else nn.Identity()
    return [
        SyncLayer((inputs, dim), padding=0, norm=norm),
        SyncLayer((dim, dim), kernel=1, padding=0, norm=norm, activation=last),
    ]


def _is_wav2lip(state: Mapping[str, Tensor]) -> bool:
    return any(name.removeprefix("module.").startswith("face_encoder.") for name in state)


def _from_wav2lip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        name = name.removeprefix("module.").replace("face_encoder.", "faces.").replace("audio_encoder.", "sound.")
        renamed[name.replace("conv_block.0.", "conv.").replace("conv_block.1.", "norm.")] = value
    first = renamed["faces.0.conv.weight"]  # (C, 5 * 3, 7, 7), the colours of a frame side by side
    renamed["faces.0.conv.weight"] = first.unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
    return renamed
