"""Whether dubbed mouths do what the sound says, as a judge, landmarks and the truth of a drawn world see it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.comparison import DUB, RECONSTRUCTION, dubbed_of
from callbacks.generation.dubbed_clip import DubbedClip, SeenFaces
from callbacks.generation.dubbing_figures import MESH, NAMES, DubbingFigures
from callbacks.generation.evaluation import Key, MethodEvaluation, Metrics
from callbacks.results.presentation import HIGHER, LOWER, NEUTRAL, MetricKind, Presentation
from callbacks.results.result import Result
from metrics.landmark_distance import eye_distances
from metrics.mouth_movement import inner_opening
from metrics.mouth_readout import LEAST_FRAMES, MouthReadout, dubbed_opening, stands_still
from networks.embedded_clip import embed_clip, window_is_known
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
      generated pixels by a readout that is fitted to the same pixels of the true frames, and again, as "mesh ...", from
      the landmarks, which know nothing of the clip but see drawn mouths of 64 pixels worse, and look at the whole face.
      The truth is "opening" and "driving_opening" of the batch, or that of the landmarks of the data where nobody knows
      it. "truth" has as "r driving" how surely true mouths are read, in frames that the readout has not seen, and as
      "r own" how alike the two mouths of a pair are, which a perfect dub would have.

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
        self._seen: SeenFaces | None = None

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
            self._seen = SeenFaces(found_mesh())

    @override
    def new_metric(self, key: Key) -> DubbingFigures:
        return DubbingFigures()

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_epoch_end(trainer, pl_module)
        if self._seen is not None:
            self._seen.forget()

    @override
    def measure(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> None:
        if batch.get("task") != DUB:
            return
        clip = DubbedClip.of(dubbed_of(self, pl_module, outputs), batch)
        figures, truth = (self.metric(pl_module, method, clip.side) for method in (clip.setting, TRUTH))
        self._judged(figures, clip.generated, clip)
        if clip.own_sound:
            self._judged(truth, clip.faces, clip)
        self._read(figures, truth, clip)
        if self._seen is not None:
            self._landmarked(figures, truth, clip)

    def _judged(self, figures: DubbingFigures, faces: Tensor, clip: DubbedClip) -> None:
        """Ask the judge about faces with the sound of the pair."""
        assert self._judge is not None
        judge = self._judge.to(figures.lips.device)
        video, audio = embed_clip(judge, faces, clip.mel.to(figures.lips.device))
        figures.lips.update(video, audio, window_is_known(clip.found, len(video)))

    def _read(self, figures: DubbingFigures, truth: DubbingFigures, clip: DubbedClip) -> None:
        """Read the mouth's opening from the pixels."""
        known = clip.found
        if int(known.sum()) < LEAST_FRAMES:
            return
        own, driving = clip.opening[known], clip.driving_opening[known]
        readout = MouthReadout(clip.faces[known], own, clip.where)
        found = dubbed_opening(readout.read(clip.generated[known]), driving, own, readout.scale)
        if clip.own_sound:
            del found["r own"]  # there is but one mouth
            truth.update_opening({"r driving": own.new_tensor(readout.reliability)})
        else:
            truth.update_opening({"r own": dubbed_opening(driving, driving, own)["r own"]})
        figures.update_opening(found)

    def _landmarked(self, figures: DubbingFigures, truth: DubbingFigures, clip: DubbedClip) -> None:
        """Compare landmarks, and read the mouth's opening from them."""
        assert self._seen is not None
        points, visible = self._seen.landmarks(clip.generated, clip.shape, keep=False)
        video, video_visible = self._seen.landmarks(clip.faces, clip.shape)
        known, driving = clip.found & visible & video_visible, video
        if not clip.own_sound and clip.driving_faces is not None:
            driving, driving_visible = self._seen.landmarks(clip.driving_faces, clip.shape)
            known = known & driving_visible
        elif not clip.own_sound:
            driving = clip.driving_landmarks
        if not known.any():
            return
        eyes = eye_distances(video)[known].mean()
        scaled = driving if clip.own_sound else driving * (eyes / eye_distances(driving)[known].mean())
        device = figures.landmarks.device
        figures.landmarks.update(*(each.to(device) for each in (points, scaled, known, video)))
        figures.movement.update(*(each.to(device) for each in (points, clip.audio, known)))
        if clip.own_sound:
            truth.movement.update(*(each.to(device) for each in (video, clip.audio, known)))
        own, driving_opening = clip.opening[known], clip.driving_opening[known]
        read, read_truth = (inner_opening(each)[known] / eyes for each in (points, video))
        scale = 0.0 if stands_still(own) else float(read_truth.std() / own.std())
        found = dubbed_opening(read, driving_opening, own, scale)
        if clip.own_sound:
            del found["r own"]
            truth.update_opening({"r driving": dubbed_opening(read_truth, own, own)["r driving"]}, MESH)
        figures.update_opening(found, MESH)

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
