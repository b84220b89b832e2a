"""Whether reenacted people are in the pose they should be in, are themselves, hold still, and of what layout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.comparison import SUBJECT, reenacted_of
from callbacks.generation.evaluation import Key, MethodEvaluation, Metrics
from callbacks.generation.pictures import to_bytes
from callbacks.results.presentation import LOWER, SHARE, MetricKind, Presentation
from callbacks.results.result import Result
from metrics.head_figures import LABELS, NAMES, NAMES_BY_GROUP, HeadFigures
from metrics.keypoint_error import keypoint_errors, pose_differences
from metrics.landmark_distance import eye_distances, second_difference
from networks.faces.finder import FaceFinder
from networks.faces.heads import DETECTOR, landmarks_of_heads
from networks.identity import IdentityEmbedder, SmallIdentity, has_weights_of
from networks.reenacted import Reenacted, shot_numbers
from visionscapes.checks import check_options
from visionscapes.errors import UserError

TRUTH, UNMOVED, ORACLE = "truth", "source unmoved", "noisy oracle"
AT_ONCE = 64  # pictures that are embedded together
_ERROR, _SIMILARITY = (MetricKind(better, digits=".3f", errors=True) for better in ("lower", "higher"))
_SHARE = MetricKind("higher", share=True, digits=".1f")
_FAILURES = MetricKind("lower", share=True, digits=".1f")


@dataclass(frozen=True)
class SubjectTargets:
    """The targets of a person whose landmarks are known, and what the true pictures say.

    Attributes:
        images: (T, 3, S, S) uint8.
        landmarks: (T, 68, 2) float32 xy in pixels, those of the data.
        seen: (T, 68, 2) float32, what outputs are compared with: those that the detector finds, or those of the data.
        visible: (T,) bool, where ``seen`` is known.
        embeddings: (T, D) of unit length.
        consecutive: whether they are the frames of a video one after the other.
        true_labels: (T, S, S) uint8 exact label maps, None where nobody knows them.
        labels: (T, S, S) uint8 label maps of a face parser, None without one.
        shots: (N, 3, S, S) uint8, all source frames.
        shot_landmarks: (N, 68, 2) float32 of these.
    """

    images: Tensor
    landmarks: Tensor
    seen: Tensor
    visible: Tensor
    embeddings: Tensor
    consecutive: bool
    true_labels: Tensor | None
    labels: Tensor | None
    shots: Tensor
    shot_landmarks: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Any], found: Tensor, eyes: "Eyes") -> Self:
        """Return the targets of a batch of task "subject" that are ``found`` (T,)."""
        person = {key: value[0].cpu() for key, value in batch.items() if isinstance(value, Tensor) and value.ndim}
        images, landmarks = person["image"][found], person["landmarks"][found].float()
        seen, visible = (landmarks, torch.ones(len(images), dtype=torch.bool)) if eyes.given else eyes.landmarks(images)
        maps = {name: person[name][found] if name in person else None for name in ("true_labels", "labels")}
        return cls(
            images=images,
            landmarks=landmarks,
            seen=seen,
            visible=visible,
            embeddings=eyes.embed(images),
            consecutive=bool(torch.as_tensor(batch.get("consecutive", False)).all()) and bool(found.all()),
            shots=person["shots"],
            shot_landmarks=person["shot_landmarks"].float(),
            **maps,
        )


@dataclass(frozen=True)
class Eyes:
    """What pictures are looked at with.

    Attributes:
        finder: of landmarks.
        embedder: of identities.
        given: whether the landmarks of the data are the truth, and not those that are found in the true pictures.
        device: of the embedder.
    """

    finder: FaceFinder
    embedder: IdentityEmbedder
    given: bool
    device: torch.device

    def landmarks(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return landmarks (T, 68, 2) of pictures (T, 3, S, S) uint8 and where there are some (T,)."""
        return landmarks_of_heads(self.finder, images)

    def embed(self, images: Tensor) -> Tensor:
        """Return the embeddings (T, D) of pictures (T, 3, S, S) uint8, on the CPU."""
        network = self.embedder.to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            parts = [network(some.to(self.device).float() / 255).cpu() for some in images.split(AT_ONCE)]
        return torch.cat(parts)


class HeadEvaluation(MethodEvaluation):
    """Pose, identity, steadiness and layout of reenacted people (thesis tables 6.1 and 6.2, Figure 6.6), and beyond.

    It takes what ``validation_step`` or ``test_step`` returns for batches of task "subject", a dictionary of
    ``networks.reenacted.Reenacted``, whose keys, such as "K = 4", are the methods. Pictures are rounded to 8 bits
    first. Protocol "heads"; figures are means over targets whose landmarks the data know, with standard errors over
    people, which the count is of.

    - "NMKE", see ``metrics.keypoint_error``, between the landmarks that MediaPipe finds in the output and in the true
      picture. Of drawn people of 64 pixels they are .05 wrong themselves ("detector error"), much the same in both.
      Blur alone has some: true pictures of 64 pixels that are as sharp as 32, 21 and 16 pixels have an NMKE of .04, .08
      and .08 against themselves, and no face in 0, 18 and 57 % of them (12 drawn people, 2026-11-30).
    - "ID-SIM", the cosine between the embeddings of the output and of the true picture.
    - "L1" on the scale of 0 to 255.
    - "no face", the share of outputs in which no face is found though the true picture has one; they have no NMKE.
    - "jitter", the mean length of the second difference of all landmarks of the output less that of the truth, in
      distances of the eyes per frame squared; of targets that are the frames of a video ("consecutive" of the batch).
    - "layout accuracy" and "layout mIoU" of the layout's arg max against exact label maps, where they are known, and
      "oracle agreement", its accuracy against those of the face parser. Of a layout that nobody teaches labels any more
      (thesis 6.1.1.4) they say how far it has gone from them, and no more.
    - "NMKE, low" and so on, for the third of the targets of low, medium and high "pose difference" from the nearest of
      the shots that the method was given, see ``metrics.keypoint_error.pose_differences`` (thesis 6.1.2.1).

    Further methods: "source unmoved", the first shot shown in place of the output; "noisy oracle", whose layout is the
    face parser's; and "truth", with "no face", the share of true pictures in which none is found, and "detector error",
    the NMKE of the landmarks that are found in them against those of the data.

    Args:
        embedder: of identities; None for the network of this repository, which knows drawn people. The thesis has one
            network in the loss and here; one that the module holds is told.
        truth: whether outputs are compared with the landmarks "detected" in the true picture, so that errors of the
            detector are in both, or with those "given" by the data, which are exact in drawn worlds.
        detector: of faces, see ``networks.faces.finder.FaceFinder``.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: before the run, a detector or weights that are missing; in the run, a module that reenacts nobody.
    """

    protocol = "heads"
    presentation = Presentation(
        "Reenacted people",
        LOWER,
        {"NMKE": _ERROR, "ID-SIM": _SIMILARITY, "no face": _FAILURES, "layout": _SHARE, "oracle agreement": SHARE},
        ranked=False,  # the truth and a source that does not move stand beside the methods
    )

    def __init__(
        self,
        embedder: IdentityEmbedder | None = None,
        truth: Literal["detected", "given"] = "detected",
        detector: str = DETECTOR,
        validate: bool = False,
    ):
        check_options(HeadEvaluation, locals())
        super().__init__(validate)
        self.embedder, self.truth, self.detector = embedder, truth, detector
        self._eyes: tuple[FaceFinder, IdentityEmbedder] | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict" or self._eyes is not None:
            return
        embedder = SmallIdentity() if self.embedder is None else self.embedder
        embedder.requires_grad_(False).eval()
        self._eyes = found_finder(self.detector), embedder
        if self.embedder is None:
            pl_module.print(f"no embedder: ID-SIM of the {embedder.title}; of photographs it says nothing")

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so if the judge has trained what it judges; a module gets the networks of its losses in ``setup``."""
        super().on_test_epoch_start(trainer, pl_module)
        assert self._eyes is not None
        if has_weights_of(pl_module, self._eyes[1]):
            pl_module.print(
                "HeadEvaluation: the embedder has trained this generator, as in the thesis, so that ID-SIM flatters it;"
                " give another one as embedder"
            )

    @override
    def new_metric(self, key: Key) -> HeadFigures:
        return HeadFigures()

    @override
    def measure(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> None:
        if batch.get("task") != SUBJECT:
            return
        reenacted = reenacted_of(self, pl_module, outputs)
        found = batch["found"][0].cpu()
        if not found.any():
            return
        assert self._eyes is not None
        eyes = Eyes(*self._eyes, given=self.truth == "given", device=pl_module.device)
        targets = SubjectTargets.of(batch, found, eyes)
        side = targets.images.shape[-1]
        self._of_the_truth(self.metric(pl_module, TRUTH, side), targets, eyes)
        self._unmoved(self.metric(pl_module, UNMOVED, side), targets, eyes)
        if targets.true_labels is not None and targets.labels is not None:
            oracle = self.metric(pl_module, ORACLE, side)
            oracle.update({"layout accuracy": accuracies(targets.labels, targets.true_labels)})
            oracle.update_layout(targets.labels, targets.true_labels)
        for name, output in reenacted.items():
            metric = self.metric(pl_module, name, side)
            images = to_bytes(output.images).cpu()[found]
            figures = seen_figures(images, targets, eyes) | differing(targets, output.shots)
            add_layout(metric, figures, labels_of(output, found), targets)

    def _of_the_truth(self, metric: HeadFigures, targets: SubjectTargets, eyes: Eyes) -> None:
        """Measure what the detector makes of the true pictures."""
        seen, visible = eyes.landmarks(targets.images) if eyes.given else (targets.seen, targets.visible)
        error = keypoint_errors(seen, targets.landmarks)
        metric.update({"no face": (~visible).double(), "detector error": error})

    def _unmoved(self, metric: HeadFigures, targets: SubjectTargets, eyes: Eyes) -> None:
        """Measure the first shot in place of all outputs."""
        first = targets.shots[:1]
        landmarks, visible = eyes.landmarks(first)
        count = len(targets.images)
        figures = figures_of(
            first.expand(count, -1, -1, -1),
            targets,
            landmarks=(landmarks.expand(count, -1, -1), visible.expand(count)),
            embeddings=eyes.embed(first),
        )
        metric.update(figures | differing(targets, 1))

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        last = (UNMOVED, ORACLE, TRUTH)
        keys = sorted(metrics, key=lambda key: (key[1], last.index(key[0]) + 1 if key[0] in last else 0))
        figures = {key: metrics[key].compute() for key in keys}
        return [
            Result(
                self.protocol,
                name,
                method,
                image_size=size,
                value=float(figures[method, size][name].value),
                standard_error=float(figures[method, size][name].standard_error),
                count=figures[method, size][name].count,
            )
            for name in (*NAMES, *NAMES_BY_GROUP)
            for method, size in keys
            if name in figures[method, size]
        ]


def seen_figures(images: Tensor, targets: SubjectTargets, eyes: Eyes) -> dict[str, Tensor]:
    """Return the figures of generated pictures (T, 3, S, S) uint8."""
    return figures_of(images, targets, landmarks=eyes.landmarks(images), embeddings=eyes.embed(images))


def figures_of(
    images: Tensor, targets: SubjectTargets, *, landmarks: tuple[Tensor, Tensor], embeddings: Tensor
) -> dict[str, Tensor]:
    """Return the figures of pictures by what is seen in them.

    Args:
        images: (T, 3, S, S) uint8.
        targets: T of them.
        landmarks: (T, 68, 2), and where there are some (T,).
        embeddings: (T, D) or (1, D) of unit length.
    """
    points, visible = landmarks
    both = visible & targets.visible
    errors = keypoint_errors(points, targets.seen)
    figures = {
        "NMKE": torch.where(both, errors, torch.nan),
        "ID-SIM": (embeddings * targets.embeddings).sum(1),
        "L1": (images.double() - targets.images.double()).abs().flatten(1).mean(1),
        "no face": torch.where(targets.visible, (~visible).double(), torch.nan),
    }
    if targets.consecutive and both.any():
        bend, own = (second_difference(each, both, slice(0, 68)) for each in (points, targets.seen))
        figures["jitter"] = (bend - own) / eye_distances(targets.seen)[both].mean()
    return figures


def differing(targets: SubjectTargets, shots: int) -> dict[str, Tensor]:
    """Return how far the pose of each target is from the nearest of K shots."""
    numbers = shot_numbers(len(targets.shots), shots)
    return {"pose difference": pose_differences(targets.shot_landmarks[numbers], targets.landmarks)}


def labels_of(output: Reenacted, found: Tensor) -> Tensor | None:
    """Return the labels (T, S, S) of the most probable channels of a layout, None if it has others than labels."""
    if output.layout is None or output.layout.shape[1] != LABELS:
        return None
    return output.layout.argmax(1).to(torch.uint8).cpu()[found]


def add_layout(metric: HeadFigures, figures: dict[str, Tensor], labels: Tensor | None, targets: SubjectTargets) -> None:
    """Add a person's figures and what label maps (T, S, S) say beside them."""
    if labels is not None:
        for name, wanted in (("layout accuracy", targets.true_labels), ("oracle agreement", targets.labels)):
            if wanted is not None:
                figures = figures | {name: accuracies(labels, wanted)}
        if targets.true_labels is not None:
            metric.update_layout(labels, targets.true_labels)
    metric.update(figures)


def accuracies(labels: Tensor, truth: Tensor) -> Tensor:
    """Return the share of pixels (T,) in which label maps (T, S, S) are right."""
    return (labels == truth).double().mean((1, 2))


def found_finder(detector: str) -> FaceFinder:
    """Return MediaPipe's detector and mesh.

    Raises:
        UserError: they are not installed, or there is no such file.
    """
    try:
        return FaceFinder(detector)
    except UserError as error:
        raise UserError(f"{error}; or leave HeadEvaluation out of --trainer.callbacks") from error
