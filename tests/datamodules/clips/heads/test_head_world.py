from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import HeadSubject, HeadWorld
from datamodules.clips.heads.source import shots_of_images
from datamodules.procedural.faces.heads import render_head
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError

SMALL = {
    "people": 5,
    "test_people": 2,
    "val_people": 1,
    "frames": 6,
    "image_size": 32,
    "shots": 3,
    "sources": 4,
    "targets": 2,
    "batch_size": 2,
}


def world(stage="fit", **options):
    data = HeadWorld(**SMALL | options)
    data.setup(stage)
    return data


@pytest.fixture(scope="module")
def fitted():
    return world()


def test_training_batches(fitted):
    batches = list(fitted.train_dataloader())
    assert len(batches) == 2
    batch = batches[0]
    assert batch["task"] == "heads"
    shapes = {key: tuple(value.shape) for key, value in batch.items() if torch.is_tensor(value)}
    assert shapes == {
        "shots": (2, 3, 3, 32, 32),
        "shot_drawings": (2, 3, 3, 32, 32),
        "image": (2, 3, 32, 32),
        "drawing": (2, 3, 32, 32),
        "landmarks": (2, 68, 2),
        "labels": (2, 32, 32),
    }
    assert batch["labels"].dtype == torch.uint8
    for key in ("shots", "shot_drawings", "image", "drawing", "landmarks"):
        assert batch[key].dtype == torch.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert all(name.startswith("person-") for name in batch["name"])


def test_people_to_evaluate():
    data = world("test", occluded=0.5)
    batches = list(data.test_dataloader())
    assert [batch["name"] for batch in batches] == [["person-0"], ["person-1"]]
    batch = batches[0]
    assert batch["task"] == "subject"
    shapes = {key: tuple(value.shape) for key, value in batch.items() if torch.is_tensor(value)}
    assert shapes == {
        "shots": (1, 4, 3, 32, 32),
        "shot_drawings": (1, 4, 3, 32, 32),
        "shot_landmarks": (1, 4, 68, 2),
        "image": (1, 2, 3, 32, 32),
        "drawing": (1, 2, 3, 32, 32),
        "landmarks": (1, 2, 68, 2),
        "found": (1, 2),
        "labels": (1, 2, 32, 32),
        "true_labels": (1, 2, 32, 32),
        "occluders": (1, 4, 32, 32),
    }
    for key in ("shots", "shot_drawings", "image", "drawing", "labels", "true_labels"):
        assert batch[key].dtype == torch.uint8
    assert batch["found"].all()
    for target in batch["landmarks"][0]:
        assert not any(torch.equal(target, source) for source in batch["shot_landmarks"][0])


def test_validation_may_be_left_out(fitted):
    assert len(list(fitted.val_dataloader())) == 1
    assert world("validate", val_people=0).val_dataloader() == []


def test_parts_hold_other_people(fitted):
    people = [head for part in ("train", "val", "test") for head in fitted.heads(part)]
    assert len(people) == 8
    for one in range(len(people)):
        for other in range(one):
            assert not np.array_equal(people[one].images[0], people[other].images[0])


def test_the_world_is_a_function_of_its_seed(fitted):
    (same,) = HeadWorld(**SMALL | {"people": 1}).heads("train")
    (other,) = HeadWorld(**SMALL | {"people": 1, "seed": 1}).heads("train")
    assert np.array_equal(same.images, fitted.heads("train")[0].images), "a smaller one is the beginning of a larger"
    assert not np.array_equal(same.images, other.images)


def seen(loader):
    return [(batch["name"], batch["image"].sum().item(), batch["shots"].sum().item()) for batch in loader]


def test_epochs_draw_other_shots_and_a_resume_goes_on_with_the_same(fitted):
    data = world(rounds=3)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)
    whole = seen(loader)
    assert len(whole) == 7
    loader.sampler.set_epoch(2)
    assert seen(loader) != whole
    first = data.train_dataloader()
    first.sampler.set_epoch(1)
    batches = iter(first)
    for _ in range(3):
        next(batches)
    state = first.state_dict()
    resumed = data.train_dataloader()
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(1)
    assert seen(resumed) == whole[3:]


def test_workers_change_nothing(fitted):
    assert seen(world(num_workers=1).train_dataloader()) == seen(fitted.train_dataloader())


def test_too_few_frames_for_the_shots_are_refused():
    with pytest.raises(UserError, match=r"frames is 4 and shots is 4.*at least 5 frames"):
        HeadWorld(frames=4, shots=4)


def test_a_training_set_that_fills_no_batch_is_refused_before_it_is_rendered():
    with pytest.raises(UserError, match="lower batch_size"):
        world(people=1, batch_size=4)


@needs_face_files
def test_somebody_of_the_test_is_reenacted_if_nobody_is_named():
    data = world("predict", most_shots=2)
    batches = list(data.predict_dataloader())
    assert {batch["task"] for batch in batches} == {"reenact"}
    assert {batch["name"] for batch in batches} == {"person-0__person-1"}
    assert batches[0]["shots"].shape == (2, 3, 32, 32)
    assert sum(len(batch["index"]) for batch in batches) == 50
    own = data.heads("test")[0]
    wide = np.ptp(batches[0]["shot_landmarks"][..., 0].numpy(), axis=1)
    assert wide == pytest.approx(np.ptp(own.landmarks[..., 0], axis=1).mean(), rel=0.2), "heads are as large as here"
    folder = Path(data._temporary.name)
    data.teardown("predict")
    assert not folder.exists()


@needs_face_files
@pytest.mark.parametrize("seed", [3, 4])
def test_heads_are_cropped_to_lie_where_those_trained_on_do(seed):
    """Drawn heads, whose place is known, are found and cropped as pictures of anybody are."""
    data = HeadWorld(seed=seed)
    crop, raised = data.framing
    apart = []
    for person in range(12):
        drawn = render_head(data.world("train"), person, range(4), 128)
        shots = shots_of_images(list(drawn.images), 64, most=4, margin=crop, raised=raised, faces=data.faces)
        assert len(shots) == 4
        apart.append(shots.landmarks - drawn.landmarks / 2)
    assert np.abs(np.concatenate(apart).mean((0, 1))).max() < 1, "pixels of 64"


def test_who_names_a_crop_gets_it_around_the_middle_of_the_face():
    assert HeadWorld(crop=2.0).framing == (2.0, 0.0)
    assert HeadWorld().framing == HeadSubject().framing == (HeadWorld.usual_crop, HeadWorld.usual_raised)
    assert HeadSubject(source="me").framing == (1.6, 0.0), "as in prepared clips"
    usual = HeadWorld().inputs
    assert (usual.crop, usual.raised) == HeadWorld().framing
    assert HeadWorld(crop=2.0).inputs.raised == 0
