import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.clips.heads.given import GivenHeads
from datamodules.clips.heads.head_world import HeadWorld
from datamodules.clips.heads.reenactment import HeadsToReenact, HowToReenact
from datamodules.clips.heads.source import shots_of
from tests.helpers.dubbing import person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import MARGIN, photograph
from visionscapes.errors import UserError

pytestmark = needs_face_files

GIVEN = GivenHeads(32, MARGIN)


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return video_of(tmp_path_factory.mktemp("videos") / "a.mp4", person(0), sound=None)


@pytest.fixture
def photo(tmp_path):
    return photograph(tmp_path / "me.png")


def test_files_are_prepared_as_for_predict(photo, talk):
    shots = shots_of(str(photo), 32, most=32, margin=MARGIN)
    expected = list(HeadsToReenact(shots, [talk], how=HowToReenact(32, MARGIN)))
    found = list(GIVEN.ask(photo, talk).batches(1))
    assert len(found) == len(expected)
    for key in ("shots", "shot_drawings", "drawing", "found", "time"):
        assert all(torch.equal(one[key], other[key]) for one, other in zip(found, expected, strict=True))


def test_pictures_in_memory_are_those_of_files(photo, talk):
    image = Image.open(photo)
    expected = next(GIVEN.ask(photo, talk).batches(1))["shots"]
    for given in (image, np.asarray(image), torch.from_numpy(np.array(image)).permute(2, 0, 1)):
        assert torch.equal(next(GIVEN.ask(given, talk).batches(1))["shots"], expected)
    several = next(GIVEN.ask([image, np.asarray(image)], talk).batches(1))
    assert torch.equal(several["shots"], expected.repeat(2, 1, 1, 1))


def test_several_drivers_are_several_videos(photo, talk):
    asked = GIVEN.ask(photo, [talk, talk], finetune=True)
    batches = list(asked.batches(1))
    assert asked.many
    assert sum(batch["last"] for batch in batches) == 2
    assert all(batch["finetune"] for batch in batches)


def test_who_is_not_there_is_told(photo, talk):
    with pytest.raises(UserError, match="picture 1 shows no face"):
        GIVEN.ask(np.full((64, 64, 3), 90, np.uint8), talk)
    with pytest.raises(UserError, match="class ndarray: give the path"):
        GIVEN.ask(photo, np.zeros((4, 4, 3)))
    with pytest.raises(UserError, match=r"gone\.mp4"):
        list(GIVEN.ask(photo, "gone.mp4").batches(1))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pictures_that_hold_no_numbers_are_told(photo, talk, value):
    right = np.asarray(Image.open(photo)) / 255
    wrong = right.copy()
    wrong[3, 4, 1] = value
    for spoilt in (wrong, torch.from_numpy(wrong).permute(2, 0, 1).float(), torch.from_numpy(wrong).permute(2, 0, 1)):
        with pytest.raises(UserError, match=r"the picture holds values that are no numbers \(NaN or infinite\)"):
            GIVEN.ask(spoilt, talk)
        with pytest.raises(UserError, match="picture 2 of the list holds values that are no numbers"):
            GIVEN.ask([right, spoilt], talk)


def test_options():
    assert HeadWorld(image_size=32, crop=2.0, landmarks="relative").inputs == GivenHeads(32, 2.0, landmarks="relative")
    assert GivenHeads(**GIVEN.options()) == GIVEN
