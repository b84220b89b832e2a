import pytest
import torch

from callbacks.generation import dubbed_clip
from callbacks.generation.dubbed_clip import DubbedClip, SeenFaces, generated_pixels, shape_of, true_openings
from metrics.mouth_readout import correlation
from networks.dubbed import Dubbed
from networks.face_region import FaceRegion
from networks.faces.cropped import DRAWN_SHAPE
from tests.helpers.dubbed_pairs import SIZE, dubbed, faces_of, pair, person


def test_a_clip_holds_what_its_batch_says_and_rounded_faces():
    output = dubbed(faces_of(person(0, 1)))
    output = output._replace(faces=(output.faces + 0.4 / 255).clamp(0, 1))
    clip = DubbedClip.of(output, pair(0, 1))
    assert torch.equal(clip.generated, faces_of(person(0, 1)))
    assert torch.equal(clip.driving_faces, faces_of(person(1)))
    assert (clip.setting, clip.own_sound, clip.side, clip.shape) == ("cross", False, SIZE, DRAWN_SHAPE)
    torch.testing.assert_close(clip.opening, torch.from_numpy(person(0).opening).double())
    torch.testing.assert_close(clip.driving_opening, torch.from_numpy(person(1).opening).double())
    batch = pair(1, 1)
    del batch["driving_faces"]
    own = DubbedClip.of(output, batch)
    assert own.own_sound
    assert own.driving_faces is None


def test_without_a_known_truth_mouths_are_as_open_as_the_landmarks_say():
    batch = pair(0, 1)
    opened = [batch.pop(name)[0] for name in ("opening", "driving_opening")]
    clip = {key: value[0] for key, value in batch.items() if isinstance(value, torch.Tensor)}
    for landmarks, truth in zip(true_openings(clip), opened, strict=True):
        assert correlation(landmarks, truth) > 0.9
    assert shape_of(clip) == 1
    assert shape_of({**clip, "boxes": clip["boxes"] * torch.tensor([0.8, 1, 0.8, 1])}) == pytest.approx(0.8)
    assert shape_of({**clip, "found": torch.zeros_like(clip["found"])}) == 1
    assert shape_of({**clip, "opening": opened[0]}) == DRAWN_SHAPE


def test_only_pixels_that_were_generated_in_every_frame_with_a_face_count_as_generated():
    region = FaceRegion(left=0.25, top=0.25, right=0.75, bottom=1.0)
    mask = torch.zeros(3, 1, 12, 8)
    mask[:, :, 6:] = 1
    mask[1, :, :7] = 0
    mask[2] = 0
    faces = torch.zeros(3, 3, 16, 16)
    output = Dubbed(faces, torch.zeros(3, 3, 12, 8), mask, region)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[11:, 4:12] = True
    assert torch.equal(generated_pixels(output, torch.tensor([True, True, False])), expected)
    expected[10, 4:12] = True
    assert torch.equal(generated_pixels(output, torch.tensor([True, False, False])), expected)
    assert not generated_pixels(output, torch.tensor([True, True, True])).any()


def test_true_faces_are_looked_at_once(monkeypatch):
    looked = []

    def landmarks_of_faces(mesh, faces, shape):
        looked.append(shape)
        return faces, faces

    monkeypatch.setattr(dubbed_clip, "landmarks_of_faces", landmarks_of_faces)
    seen = SeenFaces(None)
    faces = faces_of(person(0))
    for _ in range(2):
        assert seen.landmarks(faces, 0.7)[0] is faces
    assert looked == [0.7]
    seen.landmarks(faces, 0.8)
    seen.landmarks(faces[:3], 0.7, keep=False)
    seen.landmarks(faces[:3], 0.7)
    assert len(looked) == 4
    seen.forget()
    seen.landmarks(faces, 0.7)
    assert len(looked) == 5
