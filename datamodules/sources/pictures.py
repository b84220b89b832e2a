"""Pictures of sources as samples: from files or from memory, for training, for evaluation and to be predicted."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.common.image_files import read_image

Augment = Literal["none", "flips", "jpeg_blur"]


class Pictures(Protocol):
    """Pictures by number, each (S, S, 3) uint8 RGB as the network sees it."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...


def middle_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Return an RGB image (size, size, 3): its shorter side resized, bilinear and antialiased, and the middle cut out.

    Smaller images are enlarged, as the authors' transform does it. The thesis (section 4.3.1) says "resized and
    center cropped"; bilinear is the default of torchvision's transform that the official code calls. Only the square
    is resized, so that a very long image costs no more memory than another.

    Args:
        image: of any size.
        size: in pixels.
    """
    width, height = image.size
    longer = int(size * max(width, height) / min(width, height))
    new_width, new_height = (longer, size) if width > height else (size, longer)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)  # torchvision's rounding
    across, along = width / new_width, height / new_height
    box = (left * across, top * along, (left + size) * across, (top + size) * along)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


class PictureFiles:
    """Image files, each as a `middle_square`.

    Args:
        paths: of the files.
        size: S in pixels.
    """

    def __init__(self, paths: Sequence[Path], size: int):
        self.paths, self.size = list(paths), size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        # As stored: no EXIF turn, like torchvision's folder of images.
        return middle_square(read_image(self.paths[index]), self.size)


class PictureSamples(Dataset):
    """Pictures as samples in order: "image" (3, S, S) float32 in [0, 1], "index" and, if there are labels, "label"."""

    def __init__(self, pictures: Pictures, labels: NDArray[np.int64] | None = None, count: int | None = None):
        self.pictures, self.labels = pictures, labels
        self.count = len(pictures) if count is None else count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = {"image": as_tensor(self.pictures[index]), "index": index}
        return sample if self.labels is None else sample | {"label": int(self.labels[index])}


class TrainingSources(Dataset):
    """What a round trains on: all labelled pictures, then the clustered ones of the discovery set.

    A sample holds "image" (3, S, S) float32 in [0, 1], "label", "discovered" (whether it comes from the discovery set)
    and "index", its number within its set.

    Args:
        labelled: pictures with known sources.
        labels: (L,) their sources.
        discovery: all pictures of the discovery set.
        clusters: (n,) labels of its first n pictures; those below 0 are left out.
        augment: "flips" mirrors every second picture and turns every second one upside down, which leaves the traces of
            a source in place; "jpeg_blur" blurs a tenth of the pictures (sigma up to 3), then compresses a tenth as
            JPEG (quality 30 to 100), and mirrors every second one (thesis section 4.5.3, after Wang et al., 2020).
    """

    def __init__(
        self,
        labelled: Pictures,
        labels: NDArray[np.int64],
        discovery: Pictures,
        clusters: NDArray[np.int64],
        augment: Augment,
    ):
        self.labelled, self.labels, self.discovery, self.augment = labelled, labels, discovery, augment
        self.clustered = np.flatnonzero(clusters >= 0)
        self.clusters = clusters[self.clustered]

    def __len__(self) -> int:
        return len(self.labels) + len(self.clustered)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = index - len(self.labels)
        if place < 0:
            picture, label, number = self.labelled[index], self.labels[index], index
        else:
            number = int(self.clustered[place])
            picture, label = self.discovery[number], self.clusters[place]
        if self.augment == "flips":
            picture = flipped(picture)
        elif self.augment == "jpeg_blur":
            picture = jpeg_blur(picture)
        return {"image": as_tensor(picture), "label": int(label), "discovered": place >= 0, "index": number}


class PicturesToPredict(Dataset):
    """Image files as samples of the task "predict": "image" (3, S, S) float32 in [0, 1] and "path"."""

    def __init__(self, pictures: PictureFiles):
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": as_tensor(self.pictures[index]), "path": str(self.pictures.paths[index])}


def as_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """Return a picture (S, S, 3) uint8 as (3, S, S) float32 in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255


def flipped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (S, S, 3), mirrored, turned upside down, both or neither, by torch's random numbers."""
    mirror, turn = torch.rand(2).tolist()
    picture = picture[:, ::-1] if mirror < 0.5 else picture
    return picture[::-1] if turn < 0.5 else picture


def jpeg_blur(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur, compress and mirror a picture (S, S, 3) at random; draws from torch's generator."""
    blur, compress, mirror, sigma, quality = torch.rand(5).tolist()
    image = Image.fromarray(picture)
    if blur < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(3 * sigma))
    if compress < 0.1:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=30 + int(71 * quality))
        image = Image.open(buffer)
    pixels = np.asarray(image)
    return pixels[:, ::-1] if mirror < 0.5 else pixels
