from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import HeadSubject, HeadWorld
from networks.faces.landmarks import face_box
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import photograph
from visionscapes.errors import UserError

SMALL = {"image_size": 32, "shots": 3, "sources": 6, "targets": 2}


def subject(stage="fit", **options):
    data = HeadSubject(**SMALL | options)
    data.setup(stage)
    return data


def test_every_batch_has_all_shots_and_one_of_them_as_its_target():
    data = subject(rounds=2)
    assert data.shots == 3
    batches = list(data.train_dataloader())
    assert len(batches) == 6
    shots = batches[0]["shots"]
    seen = []
    for batch in batches:
        assert batch["task"] == "heads"
        assert "labels" not in batch
        assert batch["shots"].shape == batch["shot_drawings"].shape == (1, 3, 3, 32, 32)
        assert torch.equal(batch["shots"], shots)
        (place,) = [number for number in range(3) if torch.equal(shots[0, number], batch["image"][0])]
        assert torch.equal(batch["shot_drawings"][0, place], batch["drawing"][0])
        seen.append(place)
    assert sorted(seen) == [0, 0, 1, 1, 2, 2]
    assert data.val_dataloader() == []


def test_a_drawn_subject_is_that_of_the_worlds_test():
    data = subject("test", subject=1, seed=3, occluded=0.5)
    world = HeadWorld(test_people=2, image_size=32, sources=6, targets=2, seed=3, occluded=0.5)
    world.setup("test")
    theirs = list(world.test_dataloader())[1]
    (batch,) = data.test_dataloader()
    for key in ("image", "drawing", "landmarks", "labels", "true_labels"):
        assert torch.equal(batch[key], theirs[key])
    assert torch.equal(batch["shots"], theirs["shots"][:, [0, 2, 4]])
    fitted = subject("fit", subject=1, seed=3, occluded=0.5)
    assert torch.equal(fitted.person.pictures(range(3)), batch["shots"][0])


def test_all_sources_are_shots_if_no_number_is_given():
    assert HeadSubject(**SMALL | {"shots": None}).shots == 6
    assert HeadSubject(**SMALL | {"shots": None, "most_shots": 2}).shots == 2
    with pytest.raises(UserError, match="shots is 7 and sources is 6"):
        HeadSubject(**SMALL | {"shots": 7})


@needs_face_files
def test_pictures_of_a_user(tmp_path, capsys):
    for number in range(3):
        photograph(tmp_path / "me" / f"{number}.png")
    data = subject(shots=None, source=str(tmp_path / "me"))
    assert data.shots == 3
    assert "3 pictures of the source" in capsys.readouterr().out
    batch = next(iter(data.train_dataloader()))
    assert batch["name"] == ["me"]
    box = face_box(batch["landmarks"].numpy())[0]
    assert (box[2:] - box[:2]).max() == pytest.approx(32 / 1.6, rel=0.02), "as large as in prepared clips"
    assert subject(shots=2, source=str(tmp_path / "me")).shots == 2
    with pytest.raises(UserError, match=r"shots is 4, and 3 pictures of .*me show a face: give more of them, or leave"):
        subject(shots=4, source=str(tmp_path / "me"))
    with pytest.raises(UserError, match=r"no shots, with landmarks: leave --data\.source out"):
        subject("test", source=str(tmp_path / "me"))


@needs_face_files
def test_a_drawn_subject_is_reenacted():
    data = subject("predict", shots=2, subject=1)
    batches = list(data.predict_dataloader())
    assert {batch["name"] for batch in batches} == {"person-1__person-2"}
    own = subject(shots=2, subject=1).person
    assert np.abs(batches[0]["shot_landmarks"].numpy() - own.landmarks).mean() < 5
    folder = Path(data._temporary.name)
    data.teardown("predict")
    assert not folder.exists()
