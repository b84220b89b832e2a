"""DAVIS-2017: videos with a mask of object ids for every frame."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import EvaluationDataModule
from datamodules.common.image_files import UnreadableImageError, read_image
from datamodules.common.reports import compare_count, listed
from datamodules.common.resizing import shorter_side_to, squash, to_tensor
from visionscapes.checks import ImageSizes, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

VOID = 255
PUBLISHED_VIDEOS = {"train": 60, "val": 30}
TREE = """
<root>/
    JPEGImages/480p/<video>/00000.jpg
    Annotations/480p/<video>/00000.png
    ImageSets/2017/{train,val}.txt
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds JPEGImages>",
    "If not, download DAVIS-2017-trainval-480p.zip from davischallenge.org, unpack it, and point to the folder DAVIS",
)


class DAVIS2017(EvaluationDataModule):
    """DAVIS-2017 for semi-supervised video object segmentation: batches of task ``task``, one video each.

    Frames are squashed to S x S with bicubic interpolation, which is what the official LiFT code does. Thesis section
    8.3.2 names the protocol of DINO, which keeps the aspect ratio; the figures of Table 8.2 are the squashed ones, and
    the two cannot be compared. Chapter 2 has both: "video" at 224 squashed, and "dense-video" with a shorter side of
    448, the aspect ratio kept and the longer side not rounded (``task: dense-video``, ``image_sizes: [448]``,
    ``aspect: keep``, ``long_side_multiple: 1``), for features that are tiled (sec. 2.7.3). A batch holds:

    * "frames": (T, 3, S, S) float32 RGB in [0, 1], all frames in order; (T, 3, S, S') or (T, 3, S', S) for
      ``aspect="keep"``;
    * "masks": (T, H0, W0) int64 at the original size: 0 background, 1..n objects, 255 void;
    * "name": of the video.

    Args:
        root: the folder that holds JPEGImages, Annotations and ImageSets.
        split: "train" or "val"; the other parts of the challenge have no public masks.
        image_sizes: S, one loader each, pixels.
        aspect: "squash", or "keep": S is the shorter side.
        long_side_multiple: for ``aspect="keep"``, the longer side is rounded down to a multiple of so many pixels; 64
            in DINO's code, the patch size in thesis chapter 2.
        resolution: of the release, a folder name.
        num_workers: processes that load videos; a video of 100 frames takes 0.6 GB at S = 448.
        task: under which name the protocols find the videos, "video" or "dense-video".

    Raises:
        UserError: an option is out of its bounds.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    def __init__(
        self,
        root: str,
        split: Literal["train", "val"] = "val",
        image_sizes: ImageSizes = [224],  # noqa: B006 (read only, and the help shows it)
        aspect: Literal["squash", "keep"] = "squash",
        long_side_multiple: PositiveInt = 64,
        resolution: str = "480p",
        num_workers: Workers = 0,
        task: Literal["video", "dense-video"] = "video",
    ):
        check_options(DAVIS2017, locals())
        super().__init__(image_sizes, 1, num_workers)
        self.task = task
        self.root, self.split, self.resolution = Path(root).expanduser(), split, resolution
        self.aspect, self.long_side_multiple = aspect, long_side_multiple
        self.videos: dict[str, list[tuple[Path, Path]]] = {}

    @override
    def setup(self, stage: str | None = None) -> None:
        """List the frames and masks of the split."""
        if self.videos:
            return
        videos = list_videos(self.root, self.split, self.resolution)
        compare_count(f"DAVIS-2017 {self.split}", "videos", len(videos), PUBLISHED_VIDEOS[self.split])
        self.videos = videos

    @override
    def dataset(self, size: int) -> "DAVISDataset":
        multiple = self.long_side_multiple if self.aspect == "keep" else None
        return DAVISDataset(self.videos, size, multiple, task=self.task)

    @staticmethod
    @override
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the one video of a batch."""
        (video,) = samples
        return video


class DAVISDataset(Dataset):
    """The videos at one image size, each read when asked for; see ``DAVIS2017`` for what a sample holds.

    Args:
        videos: (frame, mask) files by name of the video.
        size: S, pixels.
        long_side_multiple: keep the aspect ratio, with the longer side rounded down to a multiple; squash if None.
        task: of the samples.
    """

    def __init__(
        self,
        videos: dict[str, list[tuple[Path, Path]]],
        size: int,
        long_side_multiple: int | None = None,
        task: str = "video",
    ):
        self.videos, self.names, self.size, self.multiple = videos, list(videos), size, long_side_multiple
        self.task = task

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self.names[index]
        frames, masks = [], []
        for frame, mask in self.videos[name]:
            frames.append(to_tensor(self._resize(read_image(frame))))
            masks.append(read_mask(mask))
        check_first_mask(masks[0], self.videos[name][0][1])
        return {"task": self.task, "frames": torch.stack(frames), "masks": torch.stack(masks), "name": name}

    def _resize(self, frame: Image.Image) -> Image.Image:
        if self.multiple is None:
            return squash(frame, self.size, Image.Resampling.BICUBIC)
        return shorter_side_to(frame, self.size, self.multiple, Image.Resampling.BICUBIC)


def list_videos(root: Path, split: str, resolution: str) -> dict[str, list[tuple[Path, Path]]]:
    """Return the (frame, mask) files of every video that the split lists, in order.

    Raises:
        DatasetNotFoundError: a file or folder is missing.
    """

    def not_found(path: Path) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="DAVIS-2017", looked_in=root, expected=TREE, remedies=REMEDIES, missing=path.relative_to(root)
        )

    names = root / "ImageSets" / "2017" / f"{split}.txt"
    if not names.exists():
        raise not_found(names)
    videos = {}
    for name in listed(names):
        folder, annotations = root / "JPEGImages" / resolution / name, root / "Annotations" / resolution / name
        frames = sorted(folder.glob("[!.]*.jpg"))
        if not frames:
            raise not_found(folder / "00000.jpg")
        videos[name] = [(frame, annotations / f"{frame.stem}.png") for frame in frames]
        for _, mask in videos[name]:
            if not mask.exists():
                raise not_found(mask)
    if not videos:
        raise not_found(names)
    return videos


def read_mask(path: Path) -> Tensor:
    """Read object ids from an indexed PNG, whose palette is only for display.

    Args:
        path: of the file.

    Returns:
        (H, W) int64: 0 background, 1..n objects, 255 void.

    Raises:
        UnreadableImageError: the file cannot be read.
        UserError: the file has colours instead of ids.
    """
    try:
        with Image.open(path) as image:
            ids = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(f"cannot read the mask {path}: {error}. Unpack the data set again.") from error
    if ids.ndim != 2:
        raise UserError(f"{path} has colours instead of object ids: unpack the original, indexed PNG file again")
    return torch.from_numpy(ids.astype(np.int64))


def check_first_mask(mask: Tensor, path: Path) -> None:
    """Check that the first mask of a video, which says how many objects there are, has the ids 1..n.

    Raises:
        UserError: it has none, or others: mostly a palette that was converted to grey levels.
    """
    ids = [value for value in mask.unique().tolist() if value not in (0, VOID)]
    if ids != list(range(1, len(ids) + 1)) or not ids:
        raise UserError(
            f"the first mask of a video has to hold the object ids 1, 2, ... n, but {path} holds {ids}:"
            " unpack the original, indexed PNG file again"
        )
