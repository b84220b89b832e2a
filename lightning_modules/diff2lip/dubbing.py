"""Modules that give a face the mouth of a sound: what Diff2Lip and what it is compared with share."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor
from typing_extensions import override

from lightning_modules.diff2lip.audio_network import SyncAudioEncoder
from lightning_modules.diff2lip.window_losses import WindowLosses
from lightning_modules.diff2lip.windows import Frames
from lightning_modules.method import MADE_OF
from lightning_modules.origin import KnowsOrigin
from networks.dubbed import Dubbed
from networks.pasting import pasted
from networks.sync_network import SyncNetwork
from visionscapes.errors import UserError
from visionscapes.files import write_bytes
from visionscapes.results import MadeVideo

SYNCNET = "syncnet"  # in a checkpoint: the shape of the SyncNet that the sound's encoder started from
ReferenceFrame = Literal["input", "first"]


class DubbingModule(KnowsOrigin, WindowLosses):
    """Base of the methods that generate the mouth of a face from sound.

    For training batches see `WindowLosses`. Batches of validation and test, task "dub", are a video and a sound:
    "setting", "faces" (1, T, 3, S, S) uint8, "landmarks" (1, T, 68, 2), "found" (1, T), "frame_mel" (1, T, 80, 16). In
    the setting "reconstruction" the first frame with a face is input and reference of all (6.2.2.1), in "cross" each
    frame is its own. Batches of prediction, task "predict", are frames of one video in order: "video", "faces"
    (F, 3, S, S) uint8, "landmarks", "found", "index", "frame_mel" (F, 80, 16).

    Args: see `WindowLosses`.

    Attributes:
        reference: in prediction, whose face shows the person: that of the "input" frame itself, as in the authors' code
            for videos driven by other sound, or of the "first" of its video.
        chunk: frames that are generated at a time.

    Raises:
        UserError: in ``setup``, the data do not fit, or a network of a loss cannot be had.
    """

    reference: ReferenceFrame = "input"
    chunk = 32
    _first: tuple[str, Tensor] | None = None  # the video being predicted, and its first face

    @property
    def face_size(self) -> int:
        """S, side of the faces in pixels."""
        return self.view.face_size

    @property
    def region(self) -> Any:
        """The part of a face that the generator sees."""
        return self.view.region

    takes = "datamodules.clips.dubbing.given.GivenVideos"
    gives = "MadeVideo: the frames with their new mouths, and the sound"
    fixed_inputs = ("face_size",)

    @override
    def default_inputs(self) -> dict[str, Any]:
        return {"face_size": self.face_size}

    @override
    def answers(self, batch: Mapping[str, Any]) -> list[MadeVideo]:
        """Return the frames of a chunk of a video with their new mouths."""
        frames = pasted(batch, self.predict_step(dict(batch), 0))
        return [
            MadeVideo(
                torch.stack([torch.from_numpy(frame) for frame in frames]),
                batch["time"],
                batch["found"],
                rate=batch["rate"],
                steady=batch["steady"],
                sound=batch["audio"],
                pixel_aspect=batch["pixel_aspect"],
                notes=self.cautions,
            )
        ]

    @property
    def purpose(self) -> str:
        """What the network was trained to give; networks of other purposes may fit all the same."""
        return type(self).__name__

    # ------------------------------------------------------------------------------------------- what differs

    @abstractmethod
    def make(self, frames: Frames) -> Tensor:
        """Return what `shown` makes of frames, (T, 3, h, w) in [-1, 1]; outside the mask it does not matter."""

    @override
    def setup(self, stage: str) -> None:
        """Check that the data are such as the model was built for, and get what it learns from.

        Raises:
            UserError: their faces have another size, or a network of a loss cannot be had.
        """
        data = getattr(self.trainer, "datamodule", None)
        size = getattr(data, "face_size", None)
        if size not in (None, self.face_size):
            raise UserError(
                f"the data have faces of {size} pixels, and the model is built for {self.face_size}: give both the "
                "same, --model.face_size and --data.face_size"
            )
        if stage == "fit":
            self.trained_on_drawn = getattr(data, "drawn_faces", None)
        if stage in ("fit", "validate"):
            self.call_experts()

    # ----------------------------------------------------------------------------------------------- dubbing

    @torch.no_grad()
    def dub(
        self,
        faces: Tensor,
        reference: Tensor,
        frame_mel: Tensor,
        *,
        landmarks: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Dubbed:
        """Return faces with the mouths of a sound.

        Args:
            faces: (T, 3, S, S) float32 in [0, 1].
            reference: (T, 3, S, S), faces that show the person.
            frame_mel: (T, 80, 16) in [-4, 4], the sound of each frame.
            landmarks: (T, 68, 2) in pixels of the faces, for a mask that follows them.
            index: (T,) int64, numbers of the frames in their video; 0 to T - 1 if None.

        Raises:
            UserError: landmarks are needed and missing.
        """
        index = torch.arange(len(faces)) if index is None else index.cpu()
        inputs, references = self.view.signed(faces), self.view.signed(reference)
        mask = self.view.masks(inputs, landmarks)
        frames = Frames(inputs, references, mask, frame_mel=frame_mel, numbers=index)
        training = self.shown.training
        self.shown.eval()
        try:
            starts = range(0, len(faces), self.chunk)
            made = [self.make(Frames(*(part[at : at + self.chunk] for part in frames))) for at in starts]
        finally:
            self.shown.train(training)
        patches = torch.where(mask > 0, torch.cat([inputs[:0], *made]).float().clamp(-1, 1), inputs)
        return Dubbed(self.view.pasted(faces, patches, mask), patches, mask=mask, region=self.region)

    def _dub_found(self, batch: Mapping[str, Tensor], faces: Tensor, reference: Tensor) -> Dubbed:
        """Return a batch's faces (T, 3, S, S) dubbed where one was found; elsewhere they stay as they are."""
        found = batch["found"].bool()
        landmarks = batch.get("landmarks")
        made = self.dub(
            faces[found],
            reference[found],
            batch["frame_mel"][found],
            landmarks=None if landmarks is None else landmarks[found],
            index=batch["index"][found],
        )
        patches = self.view.signed(faces)
        mask = patches.new_zeros(len(faces), 1, *self.view.shape)
        whole = faces.clone()
        whole[found], patches[found], mask[found] = made.faces, made.patches, made.mask
        return Dubbed(whole, patches, mask=mask, region=self.region)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return a video dubbed, `Dubbed`, for the callbacks."""
        if batch.get("task") != "dub":
            return None
        video: dict[str, Tensor] = {
            name: batch[name][0] for name in ("found", "frame_mel", "landmarks") if name in batch
        }
        faces = batch["faces"][0].float() / 255
        video["index"] = torch.arange(len(faces), device=faces.device)
        if batch["setting"][0] == "reconstruction":
            first = int(video["found"].float().argmax())
            faces = faces[first].expand_as(faces)
            if "landmarks" in video:
                video["landmarks"] = video["landmarks"][first].expand_as(video["landmarks"])
            video["found"] = torch.ones_like(video["found"])
        return self._dub_found(video, faces, faces)

    test_step = validation_step

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Dubbed:
        """Return the frames of a part of a video dubbed where a face was found."""
        faces = batch["faces"].float() / 255
        return self._dub_found(batch, faces, self._references(batch, faces))

    def _references(self, batch: Mapping[str, Any], faces: Tensor) -> Tensor:
        """Return the faces (F, 3, S, S) that show the person of a part of a video, see ``reference``."""
        if self.reference == "input":
            return faces
        if self._first is not None and (self._first[0] != batch["video"] or int(batch["index"][0]) == 0):
            self._first = None
        if self._first is None and batch["found"].any():
            self._first = batch["video"], faces[batch["found"].bool()][0]
        return faces if self._first is None else self._first[1].to(faces).expand_as(faces)

    # ------------------------------------------------------------------------------------------- checkpoints

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        hearing = getattr(self.generator, "audio", None)
        if isinstance(hearing, SyncAudioEncoder):
            checkpoint[MADE_OF][SYNCNET] = dict(hearing.options)

    @classmethod
    @override
    def restored(cls, options: dict[str, Any], made_of: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Have a SyncNet of the same shape stand for the one that the sound's encoder started from, if that is gone."""
        audio = options.get("audio") or {}
        file = audio.get("syncnet")
        if file is None or Path(file).expanduser().is_file() or SYNCNET not in made_of:
            return options
        shape = made_of[SYNCNET]
        stand_in = folder / "syncnet.safetensors"
        written = {name: str(value) for name, value in shape.items()}
        write_bytes(stand_in, save(SyncNetwork(**shape).state_dict(), written))
        return options | {"audio": {**audio, "syncnet": str(stand_in)}}

    @override
    def built_for(self) -> dict[str, Any]:
        return {"face_box": self._face_box(), "purpose": self.purpose}

    @override
    def check_origin(self, told: Mapping[str, Any]) -> None:
        """See that weights were trained on the same crops of faces, and to give the same.

        Raises:
            UserError: they were not.
        """
        self._check_purpose(told.get("purpose"))
        box = told.get("face_box")
        self._check_face_box([int(edge) for edge in box.split()] if isinstance(box, str) else box)

    def _check_purpose(self, theirs: str | None) -> None:
        if theirs not in (None, self.purpose):
            raise UserError(
                f"the network was trained as {theirs}, and the model is {self.purpose}: give the --model and its "
                "options as in its cli_config.yaml"
            )

    def _check_face_box(self, theirs: list[int] | None) -> None:
        ours = self._face_box()
        if theirs and list(theirs) != ours:
            raise UserError(
                f"the network was trained on faces of {theirs[0]} pixels and their region {tuple(theirs[1:])}, and "
                f"the model is built for {ours[0]} and {tuple(ours[1:])}: give --model.face_size and --model.region as "
                "in its cli_config.yaml"
            )

    def _face_box(self) -> list[int]:
        """Return the size of the faces and the region (x0, y0, x1, y1) in their pixels."""
        return [self.face_size, *self.region.box(self.face_size)]
