"""Visual tokens, BEiT's targets: every patch of a picture gets one id out of a fixed vocabulary.

The paper takes the ids from the discrete VAE of DALL-E (Bao et al., ICLR 2022, section 2.1). Where its weights are not
at hand, a codebook of k-means over patches stands in for it.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from lightly.models.utils import normalize_mean_var, patchify
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.companion import Companion
from networks.weights import read_state_dict
from visionscapes.checks import Bounds, ImageSize, NumpySeed, PositiveInt, check_options
from visionscapes.errors import UserError


class VisualTokens(nn.Module, ABC):
    """Turns pictures (B, 3, S, S) float32 RGB in [0, 1] into ids (B, h, w) int64 on the grid of a ViT's patches.

    Args:
        vocabulary: number of ids.

    Attributes:
        options: with which another one like this can be made, as a ``made_as`` if that is not its own class.

    Raises:
        UserError: there are fewer than two ids.
    """

    options: dict[str, Any]

    def __init__(self, vocabulary: Annotated[int, Bounds(least=2)]):
        check_options(VisualTokens, locals())
        super().__init__()
        self.vocabulary = vocabulary

    @property
    def learned(self) -> bool:
        """Whether there is nothing left to learn before training."""
        return True

    def learn(self, pictures: Iterable[Tensor]) -> None:
        """Learn the ids from batches of training pictures; not all of them need to be drawn."""

    @abstractmethod
    @override
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the ids; ``grid`` is (h, w)."""


class Codebook(VisualTokens):
    """The id of a patch is that of the centre nearest to it, among centres that were learned or are given.

    Args:
        patch_size: p of the ViT in pixels.
        vocabulary: number of centres.
        normalise_patches: give the pixels of a patch mean 0 and variance 1 first (``lightly``'s normalize_mean_var).

    Raises:
        UserError: an option is out of its bounds, or, in ``forward``, the grid of the ViT is another one.
    """

    centres: Tensor
    has_centres: Tensor

    def __init__(self, patch_size: PositiveInt, vocabulary: Annotated[int, Bounds(least=2)], normalise_patches: bool):
        check_options(Codebook, locals())
        super().__init__(vocabulary)
        self.patch_size, self.normalise_patches = patch_size, normalise_patches
        self.options = {"patch_size": patch_size, "vocabulary": vocabulary, "normalise_patches": normalise_patches}
        # In the checkpoint: a resumed run goes on with the same ids.
        self.register_buffer("centres", torch.zeros(vocabulary, 3 * patch_size**2))
        self.register_buffer("has_centres", torch.tensor(False))

    @property
    @override
    def learned(self) -> bool:
        """Whether the centres are there."""
        return bool(self.has_centres)

    def patches(self, images: Tensor) -> Tensor:
        """Return what is compared with the centres, (B, h w, 3 p^2)."""
        patches = patchify(images.float(), self.patch_size)
        return normalize_mean_var(patches) if self.normalise_patches else patches

    @torch.no_grad()
    @override
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        if images.shape[-2] != grid[0] * self.patch_size or images.shape[-1] != grid[1] * self.patch_size:
            raise UserError(
                f"visual tokens of {self.patch_size} pixels do not fit a grid of {grid[0]}x{grid[1]} patches of an "
                f"image of {images.shape[-2]}x{images.shape[-1]} pixels: give the tokenizer the ViT's patch_size"
            )
        # |x - c|^2 / 2 without |x|^2, which all centres share. In pieces: the paper's vocabulary needs 32 kB a patch.
        with torch.autocast(images.device.type, enabled=False):  # in half precision other centres would be nearest
            half_norms = self.centres.square().sum(1) / 2
            pieces = self.patches(images).flatten(0, 1).split(4096)
            ids = [(half_norms - piece @ self.centres.T).argmin(1) for piece in pieces]
        return torch.cat(ids).unflatten(0, (len(images), *grid))


class KMeansTokens(Codebook):
    """Learns the centres by scikit-learn's MiniBatchKMeans from patches of the first training pictures.

    Args:
        patch_size: p of the ViT in pixels.
        vocabulary: number of centres.
        normalise_patches: give the pixels of a patch mean 0 and variance 1 first.
        batches: of training pictures that patches are taken from.
        samples: patches to learn from, at most, the same number from every batch.
        seed: of the choice of patches and of k-means.

    Raises:
        UserError: fewer samples than centres; in ``learn``, fewer patches in the data than centres.
    """

    def __init__(
        self,
        patch_size: PositiveInt,
        vocabulary: Annotated[int, Bounds(least=2)] = 512,
        normalise_patches: bool = True,
        batches: PositiveInt = 8,
        samples: PositiveInt = 20_000,
        seed: NumpySeed = 0,
    ):
        check_options(KMeansTokens, locals())
        super().__init__(patch_size, vocabulary, normalise_patches)
        if samples < vocabulary:
            raise UserError(f"{samples} samples cannot give {vocabulary} visual tokens: raise samples")
        self.batches, self.samples, self.seed = batches, samples, seed
        self.options |= {"batches": batches, "samples": samples, "seed": seed}

    @override
    def learn(self, pictures: Iterable[Tensor]) -> None:
        """Learn the centres; equal pictures and an equal seed give equal ones.

        Raises:
            UserError: fewer patches than tokens.
        """
        from sklearn.cluster import MiniBatchKMeans

        generator, share = torch.Generator().manual_seed(self.seed), -(-self.samples // self.batches)
        chosen = []
        for images in islice(pictures, self.batches):
            patches = self.patches(images.cpu()).flatten(0, 1)
            chosen.append(patches[torch.randperm(len(patches), generator=generator)[:share]])
        sample = torch.cat(chosen)[: self.samples] if chosen else torch.empty(0, self.centres.shape[1])
        if len(sample) < self.vocabulary:
            raise UserError(
                f"{len(sample)} patches cannot give {self.vocabulary} visual tokens: raise the tokenizer's batches, or "
                "lower its vocabulary"
            )
        means = MiniBatchKMeans(self.vocabulary, n_init=1, random_state=self.seed, batch_size=4096)
        self.centres.copy_(torch.from_numpy(means.fit(sample.numpy()).cluster_centers_))
        self.has_centres.fill_(True)


class CodebookFile(Codebook):
    """Reads the centres from a local file.

    Args:
        path: a file whose entry "centres" is (vocabulary, 3 p^2), pixels in the order row, column, channel; a
            checkpoint of a ``BEiT`` that learned them is one.
        normalise_patches: as it was where the centres were learned.

    Raises:
        UserError: there is no such file, or no centres of square RGB patches in it.
    """

    made_as: ClassVar[type] = Codebook  # the centres are in the checkpoint, so that the file need not be there

    def __init__(self, path: str, normalise_patches: bool = True):
        check_options(CodebookFile, locals())
        state = read_state_dict(path)
        found = [value for name, value in state.items() if name.rpartition(".")[2] == "centres" and value.ndim == 2]
        side = round((found[0].shape[1] / 3) ** 0.5) if found else 0
        if not found or found[0].shape[1] != 3 * side**2:
            raise UserError(
                f"'{path}' holds no 'centres' (vocabulary, 3 * patch size^2): give a checkpoint of BEiT that learned "
                "visual tokens, or use KMeansTokens"
            )
        super().__init__(side, len(found[0]), normalise_patches)
        self.centres.copy_(found[0])
        self.has_centres.fill_(True)


class ScriptedEncoder(VisualTokens):
    """Takes the ids from an encoder in a local TorchScript file, such as the paper's, the discrete VAE of DALL-E.

    The file maps images (B, 3, s, s) to logits (B, vocabulary, h, w). DALL-E's encoder (vocabulary 8192) has h = s / 8,
    therefore the paper shows it 112 pixels where the ViT sees 224, and it expects pixels x as 0.8 x + 0.1. It is
    published as a pickle of the package ``dall_e``; ``torch.jit.trace(encoder, torch.rand(1, 3, 112, 112)).save(...)``
    makes the file of it. Checkpoints do not hold it.

    Args:
        path: the file.
        image_size: s in pixels.
        vocabulary: number of ids.
        margin: e in the pixels (1 - 2 e) x + e that the encoder expects.

    Raises:
        UserError: there is no such file, or it is no TorchScript; in ``forward``, its grid is not the ViT's.
    """

    def __init__(
        self,
        path: str,
        image_size: ImageSize = 112,
        vocabulary: Annotated[int, Bounds(least=2)] = 8192,
        margin: Annotated[float, Bounds(least=0, below=0.5)] = 0.1,
    ):
        check_options(ScriptedEncoder, locals())
        super().__init__(vocabulary)
        if not Path(path).expanduser().is_file():
            raise UserError(
                f"no visual tokenizer at '{path}': save the encoder of DALL-E as TorchScript there, or learn tokens "
                "from patches, tokenizer: {class_path: lightning_modules.supervision.visual_tokens.KMeansTokens}"
            )
        try:
            with (
                warnings.catch_warnings()
            ):  # torch asks for torch.export, whose files run for one shape and device only
                warnings.simplefilter("ignore", FutureWarning)
                encoder = torch.jit.load(str(Path(path).expanduser()), map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise UserError(f"'{path}' cannot be read as TorchScript ({error}); save it with torch.jit.save") from error
        self.path, self.image_size, self.margin = path, image_size, margin
        self.options = {"path": path, "image_size": image_size, "vocabulary": vocabulary, "margin": margin}
        self._encoder = Companion(encoder)

    @torch.no_grad()
    @override
    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        size = (self.image_size, self.image_size)
        resized = F.interpolate(images.float(), size=size, mode="bicubic", antialias=True).clamp(0, 1)
        with torch.autocast(images.device.type, enabled=False):
            logits = self._encoder((1 - 2 * self.margin) * resized + self.margin)
        if tuple(logits.shape[1:]) != (self.vocabulary, *grid):
            raise UserError(
                f"'{self.path}' gives {tuple(logits.shape[1:])} for {size[1]}x{size[0]} pixels where vocabulary and "
                f"grid are {(self.vocabulary, *grid)}: change the tokenizer's image_size or vocabulary"
            )
        return logits.argmax(1)
