from typing import Any

import pytest
import torch
from typing_extensions import override

from datamodules.clips.heads.motion import write_motion
from datamodules.clips.heads.prediction import MOST_SHOTS, PredictsHeads, drivers_at
from datamodules.common.errors import DatasetNotFoundError
from tests.helpers.dubbing import person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import motion, photograph, turning
from visionscapes.errors import UserError


class Heads(PredictsHeads):
    def __init__(self, image_size: int = 32, **kwargs: Any):
        super().__init__(batch_size=1, num_workers=0, seed=0, **kwargs)
        self.image_size = image_size

    @override
    def setup(self, stage: str) -> None:
        self.predict_set = self.predicted()


@needs_face_files
def test_a_photograph_and_landmarks(tmp_path):
    write_motion(tmp_path / "turn.npz", motion(turning(8)))
    photo = photograph(tmp_path / "me.png")
    data = Heads(source=str(photo), driving=str(tmp_path / "turn.npz"), finetune=True, crop=2.0)
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert (batch["name"], batch["finetune"], len(batch["index"])) == ("me__turn", True, 8)
    wider = batch["shot_landmarks"][0]
    usual = Heads(source=str(photo), driving=str(tmp_path / "turn.npz"))
    usual.setup("predict")
    closer = next(iter(usual.predict_dataloader()))["shot_landmarks"][0]
    ratio = float((closer[16] - closer[0]).norm() / (wider[16] - wider[0]).norm())
    assert ratio == pytest.approx(2.0 / 1.6, rel=0.01), "as in prepared clips, unless asked otherwise"
    assert usual.most_shots == MOST_SHOTS


@needs_face_files
def test_pictures_and_videos_by_pattern(tmp_path):
    for number in range(3):
        photograph(tmp_path / "me" / f"{number}.png")
    video_of(tmp_path / "videos" / "a.mp4", person(1, 3), sound=None)
    video_of(tmp_path / "videos" / "b.mp4", person(2, 2), sound=None)
    data = Heads(source=[str(tmp_path / "me" / "*.png")], driving=str(tmp_path / "videos"), most_shots=2)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [batch["name"] for batch in batches] == ["0__a", "0__b"]
    assert torch.equal(batches[0]["shots"], batches[1]["shots"])
    assert len(batches[0]["shots"]) == 2


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match=r"There is nobody to reenact: name pictures of a person as --data\.source"):
        Heads().setup("predict")
    with pytest.raises(UserError, match=r"Name a video of a driver as --data\.driving too"):
        Heads(source="a.png").setup("predict")
    with pytest.raises(UserError, match=r"Name pictures of a person as --data\.source too"):
        Heads(driving="a.mp4").setup("predict")
    with pytest.raises(DatasetNotFoundError, match=r"(?s)The driver was not found.*--data\.driving"):
        drivers_at(str(tmp_path / "nowhere.mp4"))


@pytest.mark.parametrize(("option", "value"), [("landmarks", "half"), ("most_shots", 0), ("crop", 0.1)])
def test_options_out_of_bounds(option, value):
    with pytest.raises(UserError, match=rf"\.{option} is"):
        Heads(**{option: value})
