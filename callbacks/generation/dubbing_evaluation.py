"""Whether dubbed mouths do what the sound says, as a judge, landmarks and the truth of a drawn world see it."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.comparison import DUB, RECONSTRUCTION, dubbed_of
from callbacks.generation.dubbing_figures import MESH, NAMES, DubbingFigures
from callbacks.generation.evaluation import Key, MethodEvaluation, Metrics
from callbacks.generation.pictures import to_bytes
from callbacks.results.presentation import HIGHER, LOWER, NEUTRAL, MetricKind, Presentation
from callbacks.results.result import Result
from metrics.landmark_distance import eye_distances
from metrics.mouth_movement import inner_opening
from metrics.mouth_readout import LEAST_FRAMES, MouthReadout, dubbed_opening
from networks.embedded_clip import embed_clip, window_is_known
from networks.faces.cropped import DRAWN_SHAPE, landmarks_of_faces
from networks.faces.mesh import FaceMesh
from networks.sync_network import SyncNetwork
from visionscapes.checks import check_options
from visionscapes.errors import UserError

TRUTH = "truth"
_JUDGE = Path(__file__).parents[2] / "weights" / "syncnet_judge.safetensors"
_CORRELATION = MetricKind("higher", digits=".2f", errors=True)
_INDIFFERENT = MetricKind(None, digits=".2f", errors=True)


class DubbingEvaluation(MethodEvaluation):
    """Lip synchronisation of dubbed clips, in both settings of thesis 6.2.2.1 (tables 6.3 to 6.5), and beyond it.

    It takes what ``validation_step`` or ``test_step`` returns for batches of task "dub", a ``networks.dubbed.Dubbed``.
    Protocol "dubbing", methods "reconstruction" and "cross", and "truth": what the same metrics say of the true frames
    with their own sound, which tells how far a figure can go. Figures are means over clips with standard errors.

    - "Sync_c", "Sync_d" and "offset", the mean distance from 0 in frames, by a SyncNet, see ``metrics.lip_sync``; on
      another scale than those of the thesis, whose network has embeddings of other lengths.
    - "LMD" in pixels of the face and "jitter", see ``metrics.landmark_distance``, with the landmarks that MediaPipe's
      mesh finds in the faces, generated and true ones alike. In the setting "cross", of which the thesis says no more,
      LMD is against the clip that the sound is from: its landmarks are scaled so that its eyes are as far apart as the
      video's, in the mean over the clip; jitter is against the video.
    - "movement in silence", "movement in speech", "silence / speech", see ``metrics.mouth_movement``.
    - "r driving", "r own" and "amplitude" of the mouth's opening, see ``metrics.mouth_readout``: correlations with the
      mouth that the sound is from and with the video's own, and the movement as a share of the former's. Read from the
      pixels by a readout fitted to the true frames, and again, as "mesh ...", from the landmarks, which know nothing of
      the clip but see drawn mouths of 64 pixels worse. The truth is "opening" and "driving_opening" of the batch, or
      that of the landmarks of the data where nobody knows it. "truth" has as "r driving" how surely true mouths are
      read, in frames that the readout has not seen, and as "r own" how alike the two mouths of a pair are, which a
      perfect dub would have.

    Args:
        judge: weights of a SyncNet that trained no generator, a file that a run of SyncNet has left; None for that of
            this repository, which knows drawn faces.
        landmarks: whether to find landmarks, which takes 5 ms a frame of one core.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: before the run, weights that are missing or no SyncNet, or no mesh to find landmarks with; in the
            run, a module that dubs nothing.
    """

    protocol = "dubbing"
    presentation = Presentation(
        "Dubbing",
        NEUTRAL,
        {
            "Sync_c": HIGHER,
            "Sync_d": LOWER,
            "offset": MetricKind("lower", digits=".2f"),
            "LMD": LOWER,
            "r driving": _CORRELATION,
            "r own": _INDIFFERENT,
            "amplitude": _INDIFFERENT,
            "mesh r driving": _CORRELATION,
            "mesh": _INDIFFERENT,
            "movement in silence": LOWER,
        },
        ranked=False,  # the settings do not compete, and the truth stands beside them
    )

    def __init__(self, judge: str | None = None, landmarks: bool = True, validate: bool = False):
        check_options(DubbingEvaluation, locals())
        super().__init__(validate)
        self.judge, self.landmarks = judge, landmarks
        self._judge: SyncNetwork | None = None
        self._mesh: FaceMesh | None = None
        self._seen: dict[tuple[int, float], tuple[Tensor, Tensor]] = {}  # landmarks of true faces, by their pixels

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "predict" or self._judge is not None:
            return
        self._judge = SyncNetwork.from_file(_JUDGE if self.judge is None else self.judge)
        if trained_by(pl_module, self._judge):
            pl_module.print(
                "DubbingEvaluation: the judge has trained this generator, so that Sync_c and Sync_d flatter it; give "
                "another SyncNet as judge"
            )
        if self.landmarks:
            self._mesh = found_mesh()

    @override
    def new_metric(self, key: Key) -> DubbingFigures:
        return DubbingFigures()

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_epoch_start(trainer, pl_module)
        self._seen = {}

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._seen = {}

    @override
    def measure(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> None:
        if batch.get("task") != DUB:
            return
        generated = to_bytes(dubbed_of(self, pl_module, outputs).faces).cpu()
        clip: dict[str, Any] = {
            key: value[0].cpu() if isinstance(value, Tensor) else value[0] for key, value in batch.items()
        }
        side = generated.shape[-1]
        figures = self.metric(pl_module, clip["setting"], side)
        truth = self.metric(pl_module, TRUTH, side)
        own_sound = clip["setting"] == RECONSTRUCTION
        self._judged(figures, generated, clip)
        if own_sound:
            self._judged(truth, clip["faces"], clip)
        self._read(figures, truth, generated, clip)
        if self._mesh is not None:
            self._meshed(figures, truth, generated, clip)

    def _judged(self, figures: DubbingFigures, faces: Tensor, clip: Mapping[str, Any]) -> None:
        """Ask the judge about a clip with the sound of the pair."""
        assert self._judge is not None
        judge = self._judge.to(figures.lips.device)
        video, audio = embed_clip(judge, faces, clip["mel"].to(figures.lips.device))
        figures.lips.update(video, audio, window_is_known(clip["found"], len(video)))

    def _read(self, figures: DubbingFigures, truth: DubbingFigures, generated: Tensor, clip: Mapping[str, Any]) -> None:
        """Read the mouth's opening from the pixels."""
        known = clip["found"]
        if int(known.sum()) < LEAST_FRAMES:
            return
        own, driving = (each[known] for each in true_openings(clip))
        readout = MouthReadout(clip["faces"][known], own)
        found = dubbed_opening(readout.read(generated[known]), driving, own, readout.scale)
        if clip["setting"] == RECONSTRUCTION:
            del found["r own"]  # there is but one mouth
            truth.update_opening({"r driving": own.new_tensor(readout.reliability)})
        else:
            truth.update_opening({"r own": dubbed_opening(driving, driving, own)["r own"]})
        figures.update_opening(found)

    def _meshed(
        self, figures: DubbingFigures, truth: DubbingFigures, generated: Tensor, clip: Mapping[str, Any]
    ) -> None:
        """Compare landmarks."""
        shape = shape_of(clip)
        assert self._mesh is not None
        points, visible = landmarks_of_faces(self._mesh, generated, shape)
        video, video_visible = self._true_landmarks(clip["faces"], shape)
        known = clip["found"] & visible & video_visible
        own_sound = clip["setting"] == RECONSTRUCTION
        driving = video
        if "driving_faces" in clip and not own_sound:
            driving, driving_visible = self._true_landmarks(clip["driving_faces"], shape)
            known = known & driving_visible
        elif not own_sound:
            driving = clip["driving_landmarks"]
        if not known.any():
            return
        eyes = eye_distances(video)[known].mean()
        scaled = driving if own_sound else driving * (eyes / eye_distances(driving)[known].mean())
        device = figures.landmarks.device
        moved = [each.to(device) for each in (points, scaled, known, video)]
        figures.landmarks.update(*moved)
        figures.movement.update(points.to(device), clip["audio"].to(device), known.to(device))
        if own_sound:
            truth.movement.update(video.to(device), clip["audio"].to(device), known.to(device))
        own_true, driving_true = (each[known] for each in true_openings(clip))
        own_read, read = (inner_opening(each)[known] / eyes for each in (video, points))
        scale = float(own_read.std() / own_true.std()) if len(own_read) > 1 and float(own_true.std()) else 0.0
        found = dubbed_opening(read, driving_true, own_true, scale)
        if own_sound:
            del found["r own"]
            reliability = dubbed_opening(own_read, own_true, own_true)["r driving"]
            truth.update_opening({"r driving": reliability}, MESH)
        figures.update_opening(found, MESH)

    def _true_landmarks(self, faces: Tensor, shape: float) -> tuple[Tensor, Tensor]:
        """Return the landmarks of true faces, which come once in each setting."""
        assert self._mesh is not None
        key = zlib.crc32(faces.contiguous().numpy().tobytes()), shape
        if key not in self._seen:
            self._seen[key] = landmarks_of_faces(self._mesh, faces, shape)
        return self._seen[key]

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        order = {RECONSTRUCTION: 0, "cross": 1, TRUTH: 2}
        keys = sorted(metrics, key=lambda key: (key[1], order[key[0]]))
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
            for name in NAMES
            for method, size in keys
            if name in figures[method, size]
        ]


def true_openings(clip: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the opening (T,) float64 of the video's own mouth and of the one that the sound is from.

    Args:
        clip: with "opening" and "driving_opening" (T,), or "landmarks" and "driving_landmarks" (T, 68, 2).
    """
    if "opening" in clip:
        return clip["opening"].double(), clip["driving_opening"].double()
    own, driving = (clip[name] for name in ("landmarks", "driving_landmarks"))
    return tuple(inner_opening(each) / eye_distances(each).median() for each in (own, driving))  # type: ignore[return-value]


def shape_of(clip: Mapping[str, Any]) -> float:
    """Return the width of a clip's faces in their height, before they were stretched to squares."""
    if "opening" in clip:
        return DRAWN_SHAPE
    sides = (clip["boxes"][:, 2:] - clip["boxes"][:, :2])[clip["found"]]
    return float((sides[:, 0] / sides[:, 1]).median()) if len(sides) else 1.0


def found_mesh() -> FaceMesh:
    """Return MediaPipe's mesh.

    Raises:
        UserError: it is not installed.
    """
    try:
        return FaceMesh()
    except UserError as error:
        raise UserError(f"{error}; or leave LMD and all else that asks for it out, landmarks=false of it") from error


def trained_by(module: LightningModule, judge: SyncNetwork) -> bool:
    """Return whether a module holds a SyncNet of the judge's weights."""
    mine = judge.state_dict()
    for other in module.modules():
        if isinstance(other, SyncNetwork) and other.options == judge.options:
            theirs = other.state_dict()
            if all(torch.equal(theirs[name].cpu(), value.cpu()) for name, value in mine.items()):
                return True
    return False
