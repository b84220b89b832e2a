import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from torch.utils.data import DataLoader, Dataset

from datamodules.procedural.faces.faces import render_face
from networks.faces.detector import shrink
from networks.faces.finder import FaceFinder, area, windows
from networks.faces.landmarks import face_box
from networks.faces.lite_model import packaged
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def pasted(image: np.ndarray, face: np.ndarray, y: int, x: int) -> np.ndarray:
    image = image.copy()
    image[y : y + len(face), x : x + face.shape[1]] = face
    return image


def test_a_photograph_has_one_face(finder: FaceFinder) -> None:
    (face,) = finder.find(data.astronaut())
    assert face.score > 0.8
    assert np.array_equal(face.box, face_box(face.landmarks))
    assert face.box.dtype == face.landmarks.dtype == np.float32
    for image in (data.coffee(), data.rocket()):
        assert finder.find(image) == []


def test_many_faces_come_largest_first(finder: FaceFinder) -> None:
    image = np.full((256, 384, 3), 128, np.uint8)
    for k, size in enumerate((80, 128, 110)):
        image = pasted(image, render_face(seed=0, index=k, size=size).image, 128 * (k % 2), 128 * k)
    image = pasted(image, shrink(data.astronaut()[20:220, 130:330], (120, 120)), 4, 132)
    faces = finder.find(image)
    areas = [area(face.box) for face in faces]
    assert len(faces) == 4
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("size", [36, 60])
def test_small_faces_of_large_pictures_are_found(finder: FaceFinder, size: int) -> None:
    scale = size / 105
    small = shrink(data.astronaut()[10:210, 130:330], (round(200 * scale), round(200 * scale)))
    image = np.random.default_rng(0).normal(128, 10, (720, 1280, 3)).clip(0, 255).astype(np.uint8)
    (face,) = finder.find(pasted(image, small, 500, 900))
    middle = face.landmarks[27:48].mean(0)
    expected = (np.array([224, 113]) - [130, 10]) * scale + [900, 500]
    assert np.abs(middle - expected).max() < 0.06 * size
    assert size > 40 or finder.find(pasted(image, small, 500, 900), levels=1) == []


def test_a_face_is_followed_until_it_is_gone(finder: FaceFinder) -> None:
    image = data.astronaut()
    (face,) = finder.find(image)
    moved = finder.follow(np.roll(image, (4, -6), (0, 1)), face.square)
    assert moved is not None
    assert np.abs(moved.landmarks - face.landmarks - [-6, 4]).mean() < 1.5
    assert finder.follow(np.roll(image, 250, 0), face.square) is None
    (near,) = finder.find_near(np.roll(image, 60, 1), face.square)
    assert np.abs(near.landmarks - face.landmarks - [60, 0]).mean() < 1
    assert finder.find_near(image[:20, :20], face.square) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((50, 50), np.uint8),
        np.zeros((50, 50, 1), np.uint8),
        np.zeros((50, 50, 4), np.uint8),
        np.zeros((50, 50, 3), np.float32),
        np.zeros((0, 50, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused_in_words(finder: FaceFinder, image: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"uint8 RGB: repeat a grey picture three times"):
        finder.find(image)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (16, 16), (2000, 1)])
def test_tiny_and_thin_pictures_have_no_face(finder: FaceFinder, shape: tuple[int, int]) -> None:
    assert finder.find(np.full((*shape, 3), 127, np.uint8)) == []


class Photographs(Dataset[torch.Tensor]):
    def __init__(self, finder: FaceFinder):
        self.finder = finder

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.finder.find(data.astronaut())[0].landmarks)


def test_workers_and_copies_find_the_same(finder: FaceFinder) -> None:
    here = finder.find(data.astronaut())[0].landmarks
    there = torch.cat(list(DataLoader(Photographs(finder), batch_size=2, num_workers=2)))
    assert np.array_equal(there, np.broadcast_to(here, (4, 68, 2)))
    assert np.array_equal(pickle.loads(pickle.dumps(finder)).find(data.astronaut())[0].landmarks, here)


def test_files_and_bundles_of_the_user_are_taken(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.task", "w") as bundle:
        for name in ("face_landmark.tflite", "face_detection_short_range.tflite"):
            bundle.write(packaged(name), name)
    mine = str(tmp_path / "mine.task")
    expected = FaceFinder("short_range").find(data.astronaut())[0].landmarks
    assert np.array_equal(FaceFinder(mine, mine).find(data.astronaut())[0].landmarks, expected)


def test_the_least_score_is_obeyed(finder: FaceFinder) -> None:
    assert FaceFinder(least_score=0.99).find(data.astronaut()) == []
    with pytest.raises(UserError, match="least_score"):
        FaceFinder(least_score=0)


def test_windows_cover_the_picture_and_overlap() -> None:
    assert list(windows(720, 1280, 0.5625, 256)) == [(0, 0, 720), (0, 560, 720)]
    assert list(windows(144, 176, 0.5625, 256)) == []
    for height, width in ((720, 1280), (1000, 1000), (3000, 300)):
        seen = np.zeros((height, width), int)
        for y, x, side in windows(height, width, 0.3125, 10):
            assert y >= 0 <= x
            seen[y : y + side, x : x + side] += 1
        assert seen.min() >= 1
