"""Edges2Handbags: edges of handbags and photographs of them, side by side in one file (Isola et al., 2017)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.image_files import find_images, read_image
from datamodules.common.inputs import Inputs
from datamodules.translation.pairs import Draws, Split, TranslationData
from datamodules.translation.pictures import condition_tensor, image_tensor
from visionscapes.checks import ImageSize, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

TREE = """
<root>/                  (or the folder above it, that holds edges2handbags)
    train/1_AB.jpg       (512 x 256 pixels: left half edges, right half photograph)
    val/1_AB.jpg
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds train and val>",
    "If not, download edges2handbags.tar.gz from the pix2pix page of the Berkeley AI Research lab, unpack it, and"
    " accept its terms",
)


def cut(picture: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Cut two pictures that lie side by side apart, at half of the width, rounded down as in pix2pix.

    Args:
        picture: wider than high.

    Returns:
        Left and right half; of an odd width, the right one has the column in the middle.
    """
    middle = picture.width // 2
    return picture.crop((0, 0, middle, picture.height)), picture.crop((middle, 0, picture.width, picture.height))


class SideBySide(Dataset):
    """Files with a condition on the left and an image on the right as samples: "image", "condition", "name".

    Args:
        paths: of the files; a name ends before "_AB".
        image_size: S in pixels; each half is squashed to a square.
        channels: of the condition, 1 or 3.
    """

    def __init__(self, paths: Sequence[Path], image_size: int, channels: int):
        self.paths, self.image_size, self.channels = list(paths), image_size, channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, edges = self.stored(index)
        return {
            "image": image_tensor(image, self.image_size),
            "condition": condition_tensor(edges, self.image_size, self.channels),
            "name": self.paths[index].stem.removesuffix("_AB"),
        }

    def named(self, position: int) -> str:
        """Return the file of a pair."""
        return str(self.paths[position])

    def stored(self, position: int) -> tuple[Image.Image, Image.Image]:
        """Return the image and the condition of a file, as stored.

        Raises:
            UserError: the file cannot be read, or is not wide enough.
        """
        path = self.paths[position]
        picture = read_image(path)
        if picture.width <= picture.height:
            raise UserError(
                f"{path} has {picture.width} x {picture.height} pixels, so that it cannot hold two pictures side by"
                " side: replace or remove it. Pairs in two folders are for PairedImages"
            )
        edges, image = cut(picture)
        return image, edges


class Edges2Handbags(TranslationData):
    """Edges2Handbags: 137 thousand pairs of edges and photographs; batches are described in `TranslationData`.

    The condition is the left half of a file: dark edges on white, not binary because of its compression. There is no
    test part: the test is on the validation part of 200 pairs. Files come in the order of their names as text (1, 10,
    2), as in pix2pix. Any other data set of the pix2pix page with folders train and val has the same form.

    ``predict`` goes through every picture of ``conditions`` with every one of ``styles``, or, without these folders,
    through all combinations of the first ten test pairs.

    Args:
        root: the folder that holds train and val, or the one above it.
        image_size: side of the square images in pixels; they are stored with 256.
        batch_size: pairs a batch and process.
        num_workers: processes that load.
        channels: of the condition: 1 (grey) or 3 (RGB, as stored).
        flip: mirror every second training pair, at random, both halves alike.
        conditions: edge pictures for ``predict``: a folder, a file, a pattern, or a list of these.
        styles: style images for ``predict`` likewise.
        seed: of order and flips, and of the noise of ``draws``.
        skip_unreadable: ``predict`` passes over files that cannot be used, and says which.
        draws: images that ``predict`` makes of a pair, see `TranslationData`.
        keep_aspect: ``predict`` squashes no picture of ``conditions``, see `TranslationData`.

    Raises:
        UserError: an option out of its range.
        DatasetNotFoundError: in ``setup``, if a folder is missing or holds no image.
    """

    def __init__(
        self,
        root: str,
        image_size: ImageSize = 256,
        batch_size: PositiveInt = 16,
        num_workers: Workers = 2,
        channels: Literal[1, 3] = 1,
        flip: bool = False,
        conditions: Inputs | None = None,
        styles: Inputs | None = None,
        seed: NonNegativeInt = 0,
        skip_unreadable: bool = False,
        draws: Draws | None = None,
        keep_aspect: bool = False,
    ):
        check_options(Edges2Handbags, locals())
        super().__init__(
            image_size,
            batch_size,
            num_workers,
            flip=flip,
            seed=seed,
            channels=channels,
            skip_unreadable=skip_unreadable,
            draws=draws,
            keep_aspect=keep_aspect,
        )
        self.root = Path(root).expanduser()
        self.conditions, self.styles = conditions, styles

    @override
    def pairs(self, part: Split) -> SideBySide:
        """Return the samples of a part; those of the test are those of the validation."""
        below = self.root / "edges2handbags"
        folder = (below if below.is_dir() else self.root) / ("train" if part == "train" else "val")
        paths = find_images(folder, name="Edges2Handbags", expected=TREE, remedies=REMEDIES)
        return SideBySide(paths, self.image_size, self.channels)

    @override
    def samples_to_predict(self) -> Dataset:
        return self.combined(self.conditions, self.styles)
