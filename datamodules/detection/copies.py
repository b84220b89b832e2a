"""Generated pictures of which one copy of every real picture is trained on at a time (thesis 9.1.1, online)."""

from collections.abc import Sequence
from typing import overload

import torch

from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.generated import layout_of
from datamodules.detection.records import CocoRecords


class ShownCopies(Sequence[AnnotatedImage]):
    """One generated picture of every real one: the first, until others are chosen.

    What is chosen lies in memory that the processes that load share: it reaches those that have started already.

    Args:
        images: all generated pictures.

    Attributes:
        images: all generated pictures.
        copies: the rows of the copies of every real picture.
    """

    def __init__(self, images: CocoRecords):
        rows: dict[str, list[int]] = {}
        for row, file in enumerate(images.coco.files):
            rows.setdefault(layout_of(file.removesuffix(".png")), []).append(row)
        self.images, self.copies = images, list(rows.values())
        self._rows = torch.tensor([rows[0] for rows in self.copies]).share_memory_()

    def __len__(self) -> int:
        return len(self.copies)

    @overload
    def __getitem__(self, index: int) -> AnnotatedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[AnnotatedImage]: ...
    def __getitem__(self, index: int | slice) -> AnnotatedImage | list[AnnotatedImage]:
        """Return the copy of a real picture that is shown, or a list of them."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return self.images[int(self._rows[index])]

    @property
    def files(self) -> list[str]:
        """The files of the pictures that are shown, below their folder."""
        return [self.images.coco.files[row] for row in self._rows.tolist()]

    def show(self, files: Sequence[str]) -> bool:
        """Show the pictures in these files, one of every real picture in order; return whether they are there."""
        for place, (file, rows) in enumerate(zip(files, self.copies, strict=False)):
            row = next((row for row in rows if self.images.coco.files[row] == file), None)
            if row is None:
                return False
            self._rows[place] = row
        return len(files) == len(self.copies)

    def show_hardest(self, hardness: Sequence[float]) -> None:
        """Show the hardest copy of every real picture, the first of those that are equally hard.

        Args:
            hardness: of all generated pictures, by row.
        """
        for place, rows in enumerate(self.copies):
            self._rows[place] = max(rows, key=lambda row: hardness[row])
