"""Generated pictures that a detector is trained on beside the real ones (thesis 7.2.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.reports import first_names
from datamodules.detection.coco_json import CocoAnnotations, read_annotations
from datamodules.detection.picture_places import locate_pictures, refuse_outside
from datamodules.detection.records import CocoRecords, records
from visionscapes.checks import Share, check_options
from visionscapes.errors import UserError

TREE = """
<folder>/
    filtered.json            (of configs/gen2det_filter.yaml; or all, annotations.json of configs/gen2det_generate.yaml)
    images/<picture>.png
"""


@dataclass(frozen=True)
class SyntheticPictures:
    """Which generated pictures a training gets, and how often.

    Args:
        annotations: file in COCO's format, such as filtered.json of configs/gen2det_filter.yaml; none if None.
        images: folder of the pictures; the folder "images" beside ``annotations`` if None.
        probability: p, with which a batch of "sampling" is of generated pictures (7.2.4); 0.2 in the thesis (7.3.1).
        mixing: "sampling": a batch is wholly of generated or wholly of real pictures, and an epoch has as many batches
            as real pictures fill (7.2.4); "concatenation": all pictures are one set (the thesis' naive combination,
            table 7.6), and an epoch goes through all of them.
        copies: of the copies of one real picture "all" are trained on, or "one" at a time: the first, or that which
            ``callbacks.HardestCopies`` chooses as the training goes on (9.1.1).

    Raises:
        UserError: an option is out of its bounds.
    """

    annotations: str | None = None
    images: str | None = None
    probability: Share = 0.2
    mixing: Literal["sampling", "concatenation"] = "sampling"
    copies: Literal["all", "one"] = "all"

    def __post_init__(self) -> None:
        check_options(SyntheticPictures, vars(self))

    def records(self, classes: Sequence[str], with_masks: bool = False) -> CocoRecords | None:
        """Return the generated pictures, None if there are none to be trained on.

        Args:
            classes: names of the classes of the real pictures, by label.
            with_masks: read masks too, of which generated pictures have none, so that their objects are learnt as
                boxes in batches that have masks of others.

        Raises:
            DatasetNotFoundError: the file or pictures are missing.
            UserError: it has classes that the real pictures do not have.
        """
        if self.annotations is None:
            return None
        path = Path(self.annotations).expanduser()
        folder = path.parent / "images" if self.images is None else Path(self.images).expanduser()
        if not path.is_file():
            raise _not_found(path.parent, path)
        coco = with_labels_of(read_annotations(path, with_masks), classes)
        paths, absent = locate_pictures(coco, [folder])
        if absent.any():
            refuse_outside(coco, absent)
            missing = [Path(paths[place]) for place in np.flatnonzero(absent).tolist()]
            raise _not_found(folder, first_names(missing, folder))
        return records(coco, paths, f"generated pictures of {path}", evaluated=False)


def with_labels_of(coco: CocoAnnotations, classes: Sequence[str]) -> CocoAnnotations:
    """Return annotations with the labels that their classes have among those of the real pictures.

    Raises:
        UserError: annotations are of others.
    """
    places = {name: label for label, name in enumerate(classes)}
    labels = np.array([places.get(name, -1) for name in coco.classes], np.int64)
    if unknown := [coco.classes[label] for label in np.unique(coco.labels).tolist() if labels[label] < 0]:
        raise UserError(
            f"{coco.path} has objects of the class {unknown[0]!r}, which the real pictures do not have "
            f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}): generate from the annotations that you "
            "train on"
        )
    return replace(coco, labels=labels[coco.labels], classes=tuple(classes))


def _not_found(looked_in: Path, missing: str | Path) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        name="The set of generated pictures",
        looked_in=looked_in,
        expected=TREE,
        remedies=(
            "Point to its file of annotations, --data.synthetic.annotations=<file>, and, if they lie elsewhere, to its"
            " pictures, --data.synthetic.images=<folder>",
            "Or make it: python cli.py predict --config configs/gen2det_generate.yaml",
        ),
        missing=missing,
    )
