"""The embedded world of chapter 5: drawn faces and their label maps, with hair and skin whose detail is random."""

from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.inputs import Inputs
from datamodules.common.label_maps import CELEBA_FLIP_PAIRS, CELEBA_MASK_NAMES
from datamodules.common.loading import check_global_batch
from datamodules.procedural.faces.faces import render_face, render_textures
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.translation.pairs import Draws, Split, TranslationData
from visionscapes.checks import LARGEST_IMAGE, AnyInt, Bounds, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

LEAST_SIZE = 32  # below, eyes and lips have no pixels
VALIDATION = 64  # faces for the validation during training, at most


class RenderedFaces(Dataset):
    """Faces 0 to ``count`` - 1 of a world, kept in memory as uint8; samples as `FaceWorld` describes.

    Args:
        world: seed of the faces.
        count: N of them.
        size: S, their side in pixels.
        textures: over which "texture_std" is taken; 0 leaves it out.
    """

    def __init__(self, world: int, count: int, size: int, textures: int = 0):
        faces = [render_face(world, index, size) for index in range(count)]
        self.images = torch.from_numpy(np.stack([face.image for face in faces])).permute(0, 3, 1, 2).contiguous()
        self.labels = torch.from_numpy(np.stack([face.labels for face in faces]))
        width = len(str(count - 1))  # leading zeros, so that names sort as numbers do
        self.names = [f"face-{index:0{width}d}" for index in range(count)]
        spread = partial(texture_std, world, size=size, textures=textures)
        self.spreads = torch.stack([torch.from_numpy(spread(n)) for n in range(count)]) if textures else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = {"image": self.images[index].float() / 255, "labels": self.labels[index], "name": self.names[index]}
        return sample if self.spreads is None else sample | {"texture_std": self.spreads[index]}


def texture_std(world: int, index: int, size: int, textures: int) -> np.ndarray:
    """Return the standard deviation of every pixel of a face over its textures.

    Args:
        world: seed of the face.
        index: of the face.
        size: S, side in pixels.
        textures: how many are rendered, at least 2.

    Returns:
        (S, S) float32, mean over the channels of the unbiased estimate, colours in [0, 1].
    """
    images = render_textures(world, index, size, range(textures)).astype(np.float32) / 255
    return images.std(0, ddof=1).mean(-1)


class FaceWorld(TranslationData):
    """Drawn faces with the 19 labels of CelebAMask-HQ, with batches as the real data set gives them.

    Training, validation and test batches: {"task": "translation", "image" (B, 3, S, S) float32 RGB in [0, 1], "labels"
    (B, S, S) uint8, "name" list of B str}. A test batch also holds "texture_std" (B, S, S) float32, colours in [0, 1]:
    how much a pixel differs between pictures of the same face that only differ in the detail of hair, brows and skin,
    which neither the label map nor a global style tells. What is drawn is said in
    ``datamodules.procedural.faces.faces``; held-out faces are other people of another world. Everything is a function
    of ``seed``. Pictures stay in memory; rendering takes about 5 ms a face of 64 x 64 pixels.

    ``predict`` combines every label map of a folder with every style image of another, or the first ten held-out
    faces with each other: see `TranslationData`.

    Args:
        images: faces to train on.
        test_images: held-out faces to test on; the first ones, at most 64, are those of the validation.
        image_size: S in pixels, at least 32.
        batch_size: pairs a batch and process.
        num_workers: processes that load.
        flip: mirror every second training pair, at random; the labels of left and right eyes, brows and ears change
            places. The light does not tell: it comes from anywhere.
        seed: of the world, of the order of training, of flips and of the noise of ``draws``.
        texture_draws: textures from which "texture_std" is estimated, at least 2; 0 leaves it out.
        labels: label maps (PNG) for ``predict``: a folder, a file, a pattern, or a list of these.
        styles: style images for ``predict`` likewise.
        skip_unreadable: ``predict`` passes over files that cannot be used, and says which.
        ignore_label: the label of pixels of ``labels`` whose label is not known, such as 255, see `TranslationData`.
        draws: images that ``predict`` makes of a pair, see `TranslationData`.
        keep_aspect: ``predict`` squashes no label map, see `TranslationData`.

    Raises:
        UserError: an option out of its range; in ``setup``, a folder that cannot be used, or one without the other.
    """

    classes = len(CELEBA_MASK_NAMES)
    label_names = CELEBA_MASK_NAMES
    swapped = CELEBA_FLIP_PAIRS

    def __init__(
        self,
        images: PositiveInt = 1000,
        test_images: PositiveInt = 200,
        image_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_IMAGE)] = 64,
        batch_size: PositiveInt = 16,
        num_workers: Workers = 0,
        flip: bool = False,
        seed: NonNegativeInt = 0,
        texture_draws: NonNegativeInt = 16,
        labels: Inputs | None = None,
        styles: Inputs | None = None,
        skip_unreadable: bool = False,
        ignore_label: AnyInt | None = None,
        draws: Draws | None = None,
        keep_aspect: bool = False,
    ):
        check_options(FaceWorld, locals())
        if texture_draws == 1:
            raise UserError("FaceWorld.texture_draws is 1; a deviation takes at least 2, and 0 leaves it out")
        super().__init__(
            image_size,
            batch_size,
            num_workers,
            flip=flip,
            seed=seed,
            skip_unreadable=skip_unreadable,
            ignore_label=ignore_label,
            draws=draws,
            keep_aspect=keep_aspect,
        )
        self.images, self.test_images, self.texture_draws = images, test_images, texture_draws
        self.labels, self.styles = labels, styles
        self.rendered: dict[Split, RenderedFaces] = {}

    @override
    def pairs(self, part: Split) -> RenderedFaces:
        """Return the faces of a part; they are rendered once."""
        if part not in self.rendered:
            held_out = self.seed + HELD_OUT_WORLD
            world, count, textures = {
                "train": (self.seed, self.images, 0),
                "val": (held_out, min(self.test_images, VALIDATION), 0),
                "test": (held_out, self.test_images, self.texture_draws),
            }[part]
            if part == "train":
                check_global_batch(count, self.batch_size)
            self.rendered[part] = RenderedFaces(world, count, self.image_size, textures=textures)
        return self.rendered[part]

    @override
    def samples_to_predict(self) -> Dataset:
        """Return all pairs of label maps and style images."""
        return self.combined(self.labels, self.styles)
