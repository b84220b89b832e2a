"""Pictures by source: some labelled with the generator or camera they come from, others whose source is to be found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.image_files import COPY_SOME
from datamodules.common.inputs import Inputs, find_inputs
from datamodules.common.inspection.contents import PartContents, picture_files
from datamodules.common.loading import eval_loader, train_loader
from datamodules.common.prediction import PredictsFiles, UsableBatches
from datamodules.sources.folders import check_leaks, check_readable, find_discovery_images, find_labelled, option
from datamodules.sources.given import GivenSources
from datamodules.sources.pictures import (
    Augment,
    PictureFiles,
    Pictures,
    PictureSamples,
    PicturesToPredict,
    TrainingSources,
)
from visionscapes.checks import LARGEST_IMAGE, Bounds, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

LEAST_SIZE = 8  # pixels; a smaller picture has no fingerprint


@dataclass(frozen=True)
class CollectedPictures:
    """All pictures of a run.

    Attributes:
        classes: names of the known sources, sorted.
        labelled: pictures of known sources.
        labels: (L,) their places in ``classes``.
        discovery: pictures to be discovered, by the round in which they come, then by name.
        names: of the discovery pictures.
        truth: names of the sources of the discovery pictures; None if unknown.
        rounds: (N,) in which they come, rising.
    """

    classes: tuple[str, ...]
    labelled: Pictures
    labels: NDArray[np.int64]
    discovery: Pictures
    names: list[str]
    truth: list[str] | None
    rounds: NDArray[np.int64]


class SourceImages(PredictsFiles):
    """Folders of pictures for open-world discovery (thesis chapter 4): labelled by source, and to be discovered.

    Below ``labelled`` there is one folder for each known source; labels are the places of their sorted names. Below
    ``discovery`` lie images of unknown source; where sub-folders name the sources, these are the truth of the
    evaluation and nothing else. Sub-folders of a source carry no meaning; the case of suffixes does not matter.
    The authors' layout is labelled=<root>/train and discovery=<root>/eval, with the lists of class_list.yaml as
    ``classes`` and ``discovery_classes``, in any order.

    The shorter side is resized (bilinear; smaller images are enlarged) and the middle cut out; the network normalises.

    Batches:

    - of training, shuffled: {"task": "sources", "image" (B, 3, S, S) float32 RGB in [0, 1], "label" (B,) int64,
      "discovered" (B,) bool, "index" (B,) int64, the number within the labelled or the discovery set};
    - of `labelled_dataloader`: "labelled" with "image", "label", "index"; of `discovery_dataloader` and of ``test``:
      "discovery" with "image", "index"; of ``predict``: "predict" with "image", "path". All in order, each image once.

    Attributes:
        classes: names of the S known sources, sorted.
        sources: names of all sources in the truth: ``classes``, then the others, sorted; ``classes`` without a truth.
        discovery_names: name of every discovery image, its path below the folder, after "round_<r>/<folder>/" if it
            arrives later. In order of arrival, then sorted.
        truth: (N,) int64, place in ``sources`` of every discovery image; None if unknown.
        real: those of ``sources`` that are real pictures.

    Args:
        labelled: folder of the labelled pictures.
        discovery: folder of the pictures to be discovered.
        image_size: S in pixels, at least 8; 256 in the thesis, 128 in its appendix.
        batch_size: training images a process, and images a batch of evaluation.
        num_workers: processes that load images.
        arrivals: what comes in later rounds (section 4.3.4.3): a folder or a list of folders by round, from 2 on. Of a
            folder that holds images and no folders, its own name is the source. Its files may lie below ``discovery``
            too: they come with the arrival only.
        include_known: train on discovery pictures that were attributed to known sources too, as Eq. 4.1 has it; the
            official code leaves them out unless asked.
        augment: "none"; "flips" to mirror pictures either way, worth it where there are few; "jpeg_blur" to blur,
            compress and mirror (section 4.5.3), which made the thesis' result worse.
        truth: whether the sub-folders of ``discovery`` name the sources; "auto" if no image lies outside of one.
        real: names of the real sources; if None, those named "real" or "real_...", as the authors name them.
        root: images for ``predict``: a folder, a file, a pattern such as "photos/**/*.jpg", or a list of these.
        classes: which folders of ``labelled`` to take; all if None.
        discovery_classes: which folders of ``discovery`` to take; all if None.
        skip_unreadable: leave out files that cannot be read and say which. If false, they end the run: before it
            trains, for which every file is decoded once at the start in either case. To predict, nothing is decoded
            beforehand.
        seed: of the order of training and of its augmentation.

    Raises:
        UserError: an option out of its range; in ``setup``, fewer than two known sources, a known source with a single
            image, a class or real source that does not exist, nothing to discover in round 1, or files that cannot be
            read, before training.
        DatasetNotFoundError: in ``setup``, if a folder is missing or holds no image.
    """

    def __init__(
        self,
        labelled: str,
        discovery: str,
        image_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_IMAGE)] = 256,
        batch_size: PositiveInt = 256,
        num_workers: Workers = 8,
        arrivals: dict[int, str | list[str]] | None = None,
        include_known: bool = True,
        augment: Augment = "none",
        truth: bool | Literal["auto"] = "auto",
        real: list[str] | None = None,
        root: Inputs | None = None,
        classes: list[str] | None = None,
        discovery_classes: list[str] | None = None,
        skip_unreadable: bool = False,
        seed: NonNegativeInt = 0,
    ):
        check_options(SourceImages, locals())
        super().__init__()
        early = sorted(arrival for arrival in arrivals or {} if arrival < 2)
        if early:
            raise UserError(
                f"arrivals has round {early[0]}; they can come from round 2 on: what is there in round 1 is the"
                f" folder {option('discovery')}"
            )
        self.labelled, self.discovery = Path(labelled).expanduser(), Path(discovery).expanduser()
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self.arrivals = {arrival: _paths(folders) for arrival, folders in (arrivals or {}).items()}
        self.include_known, self.augment, self.known_truth, self.named_real = include_known, augment, truth, real
        self.root = root
        self.chosen, self.discovery_chosen = _distinct(classes), _distinct(discovery_classes)
        self.skip_unreadable, self.seed = skip_unreadable, seed
        self._collected: CollectedPictures | None = None
        self._clusters = np.empty(0, np.int64)

    @override
    def setup(self, stage: str) -> None:
        """List the pictures; once, so that labels given by `relabel` stay.

        Raises:
            UserError: see the class.
            DatasetNotFoundError: see the class.
        """
        if stage == "predict":
            self.predict_set = self._to_predict()
            return
        if self._collected is not None:
            return
        found = self.collect()
        if stage == "fit" and not self.skip_unreadable:
            check_readable([*_paths_of(found.labelled), *_paths_of(found.discovery)])
        self.classes, self.discovery_names = found.classes, found.names
        others = set() if found.truth is None else set(found.truth) - set(found.classes)
        self.sources: tuple[str, ...] = (*found.classes, *sorted(others))
        places = {name: place for place, name in enumerate(self.sources)}
        self.truth = None if found.truth is None else np.array([places[name] for name in found.truth], np.int64)
        unknown = sorted(set(self.named_real or ()) - set(self.sources))
        if unknown:
            raise UserError(f"real has {', '.join(unknown)}, but the sources are {', '.join(self.sources)}")
        self.real = frozenset(filter(self.is_real, self.sources) if self.named_real is None else self.named_real)
        self._collected = found

    def collect(self) -> CollectedPictures:
        """Return all pictures of the run."""
        labelled = find_labelled(self.labelled, self.chosen, self.skip_unreadable)
        discovery = find_discovery_images(
            self.discovery, self.arrivals, self.known_truth, self.discovery_chosen, self.skip_unreadable
        )
        check_leaks(labelled, discovery)
        classes = tuple(sorted({str(source) for source in labelled.sources}))
        truth = [source for source in discovery.sources if source is not None]
        return CollectedPictures(
            classes=classes,
            labelled=PictureFiles(labelled.paths, self.image_size),
            labels=np.array([classes.index(str(source)) for source in labelled.sources], np.int64),
            discovery=PictureFiles(discovery.paths, self.image_size),
            names=discovery.names,
            truth=truth if len(truth) == len(discovery.paths) else None,
            rounds=np.array(discovery.rounds, np.int64),
        )

    def contents(self) -> dict[str, PartContents]:
        """Return the files of both sets, as `datamodules.common.inspection` asks for them; rendered ones have none."""
        found = self._pictures
        parts = {}
        if isinstance(found.labelled, PictureFiles):
            parts["labelled"] = picture_files(found.labelled.paths, classes=found.classes, labels=found.labels)
        if isinstance(found.discovery, PictureFiles):
            described = {"rounds in which images arrive": len(np.unique(found.rounds))}
            parts["discovery"] = picture_files(
                found.discovery.paths, classes=self.sources, labels=self.truth, described=described
            )
        return parts

    def is_real(self, source: str) -> bool:
        """Return whether a source is real by its name."""
        return source == "real" or source.startswith("real_")

    def arrived(self, round: int) -> int:
        """Return how many discovery images are there in a round, from 1 on; they are the first ones."""
        return int(np.searchsorted(self._pictures.rounds, round, side="right"))

    def relabel(self, labels: NDArray[np.integer]) -> None:
        """Take the labels of the discovery images that are there; the next `train_dataloader` deals them.

        Args:
            labels: (n,) -1 not clustered, 0 to S - 1 known sources, from S on discovered clusters.

        Raises:
            ValueError: more labels than images, or other than a row of integers from -1 on.
        """
        labels = np.asarray(labels)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or (labels < -1).any():
            raise ValueError(f"labels have to be a row of integers from -1 on, not {labels.dtype} {labels.shape}")
        if len(labels) > len(self.discovery_names):
            raise ValueError(f"{len(labels)} labels for {len(self.discovery_names)} discovery images")
        self._clusters = labels.astype(np.int64)  # a copy

    def counts(self) -> tuple[int, int]:
        """Return how many labelled and how many clustered images `train_dataloader` would deal."""
        dataset = self._training_set()
        return len(dataset.labels), len(dataset.clustered)

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        """Return how many images of each of the ``classes`` sources and clusters `train_dataloader` would deal."""
        dataset = self._training_set()
        return np.bincount(np.concatenate([dataset.labels, dataset.clusters]), minlength=classes)

    @override
    def train_dataloader(self) -> DataLoader:
        """Return the loader of the labelled images and of those that are clustered now."""
        return train_loader(
            self._training_set(),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            collate_fn=Stacked("sources"),
            trainer=self.trainer,
        )

    def labelled_dataloader(self) -> DataLoader:
        """Return the loader of all labelled images, in order."""
        return self._in_order(PictureSamples(self._pictures.labelled, self._pictures.labels), "labelled")

    def discovery_dataloader(self, round: int) -> DataLoader:
        """Return the loader of the discovery images that are there in a round, in order."""
        return self._in_order(PictureSamples(self._pictures.discovery, count=self.arrived(round)), "discovery")

    @override
    def test_dataloader(self) -> DataLoader:
        """Return the loader of all discovery images, those that arrive later included, in order."""
        return self._in_order(PictureSamples(self._pictures.discovery), "discovery")

    @override
    def predict_dataloader(self) -> UsableBatches:
        """Return the loader of the images that ``root`` names."""
        return self.usable_batches(
            self.predict_set,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Stacked("predict", ("path",)),
        )

    def discovery_image(self, index: int) -> NDArray[np.uint8]:
        """Return a discovery image as the network sees it, (S, S, 3) uint8 RGB."""
        return self._pictures.discovery[index]

    @property
    def inputs(self) -> GivenSources:
        """How images are prepared that a user gives in Python, as `predict` does it."""
        return GivenSources(self.image_size)

    @property
    def _pictures(self) -> CollectedPictures:
        assert self._collected is not None, "setup comes first"
        return self._collected

    def _training_set(self) -> TrainingSources:
        found = self._pictures
        first = 0 if self.include_known else len(found.classes)
        clusters = np.where(self._clusters >= first, self._clusters, -1)
        return TrainingSources(found.labelled, found.labels, found.discovery, clusters=clusters, augment=self.augment)

    def _in_order(self, dataset: PictureSamples, task: str) -> DataLoader:
        return eval_loader(
            dataset,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Stacked(task),
            trainer=self.trainer,
        )

    def _to_predict(self) -> PicturesToPredict:
        if self.root is None:
            raise UserError(f"predict needs images: {option('root')}, or a file, a pattern or a list of these")
        remedies = [f"Give the images to be attributed as {option('root', '<folder, file or pattern>')}", COPY_SOME]
        found = find_inputs(self.root, name="The set of images to be attributed", remedies=remedies)
        self.predict_root = found.root
        return PicturesToPredict(PictureFiles(found.paths, self.image_size))


def _paths_of(pictures: Pictures) -> list[Path]:
    """Return the files of pictures; rendered ones have none."""
    return pictures.paths if isinstance(pictures, PictureFiles) else []


def _paths(folders: str | Sequence[str]) -> list[Path]:
    return [Path(each).expanduser() for each in ([folders] if isinstance(folders, str) else folders)]


def _distinct(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else sorted(set(names))
