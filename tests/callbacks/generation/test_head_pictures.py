import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from callbacks.generation import head_pictures
from callbacks.generation.head_pictures import HeadPictures, in_the_pose_of, shown_subject
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.reenacted_subjects import (
    SOURCES,
    TARGETS,
    PerfectReenactor,
    Silent,
    Unmoved,
    images_of,
    loader,
    pictures,
    subject,
)
from visionscapes.errors import UserError
from visionscapes.media.video import probe, read_frames

GRIDS = {"layouts.png", "single_shot.png", "many_shots.png", "cross_subject.png"}
FILMS = {"driven.mp4", "driven.gif"}


def names(folder):
    return {path.name for path in (folder / "pictures").iterdir()}


def test_a_test_leaves_grids_and_films(tmp_path):
    quiet_trainer(tmp_path, [HeadPictures(people=3)]).test(PerfectReenactor(), loader(range(4)), verbose=False)
    assert names(tmp_path) == GRIDS | FILMS
    for path in (tmp_path / "pictures").iterdir():
        assert path.stat().st_size > 3_000
    info = probe(tmp_path / "pictures" / "driven.mp4")
    assert (info.frames, info.rate) == (TARGETS, pytest.approx(2))
    second = list(read_frames(tmp_path / "pictures" / "driven.mp4"))[18].astype(int)  # at 25 a second
    assert second.shape == (256, 768, 3)
    source, target, output = second[:, :256], second[:, 256:512], second[:, 512:]
    assert abs(target - output).mean() < 3
    assert abs(source - target).mean() > 8
    with Image.open(tmp_path / "pictures" / "driven.gif") as image:
        assert image.n_frames == TARGETS


def test_what_is_not_there_is_left_out(tmp_path):
    callback = HeadPictures(film=False)
    quiet_trainer(tmp_path, [callback]).test(Unmoved((4,)), loader([0]), verbose=False)
    assert names(tmp_path) == {"many_shots.png"}


def test_every_person_is_shown_in_the_pose_of_every_other():
    module = PerfectReenactor()
    people = [shown_subject(module.test_step(subject(person), 0), subject(person), 4) for person in (0, 1)]
    picture = in_the_pose_of(module, torch.device("cpu"), people[0], people[1], 2)
    assert torch.equal(picture, images_of(pictures(0))[SOURCES + 2])


def test_targets_without_landmarks_are_not_shown():
    module, found = PerfectReenactor(), torch.ones(1, TARGETS, dtype=torch.bool)
    found[0, 1] = False
    batch = subject(0, found=found, consecutive=True)
    shown = shown_subject(module.test_step(batch, 0), batch, 2)
    assert (
        len(shown.targets) == len(shown.drawing) == len(shown.differences) == len(shown.maps["layout"]) == TARGETS - 1
    )
    assert torch.equal(shown.outputs["K = 4"], shown.targets)
    assert torch.equal(shown.maps["layout"], shown.maps["exact map"])
    assert not torch.equal(shown.maps["layout"], shown.maps["noisy oracle"])
    assert not shown.consecutive
    assert shown.best() == "K = 4"
    assert len(shown.shots) == 2


def test_other_batches_and_processes_draw_nothing(tmp_path, monkeypatch):
    other = DataLoader([subject(0, task="other")], batch_size=None)
    quiet_trainer(tmp_path, [HeadPictures()]).test(PerfectReenactor(), other, verbose=False)
    monkeypatch.setattr("pytorch_lightning.Trainer.is_global_zero", property(lambda self: False))
    quiet_trainer(tmp_path, [HeadPictures()]).test(PerfectReenactor(), loader([0]), verbose=False)
    assert not (tmp_path / "pictures").exists()
    assert head_pictures.APART == 2


def test_a_module_that_reenacts_nobody_is_named(tmp_path):
    with pytest.raises(UserError, match="HeadPictures needs reenacted people, which Silent does not return"):
        quiet_trainer(tmp_path, [HeadPictures()]).test(Silent(), loader([0]), verbose=False)
