import numpy as np
import pytest
import torch

from datamodules.images.people_world import SHOWN, PairsOfPeople, PeopleWorld, blurred, render_people
from datamodules.procedural.faces.faces import face_identity, render_face
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

FEW = {"people": 4, "pictures": 3, "test_people": 2, "image_size": 32, "batch_size": 2}


def test_a_person_has_one_identity_and_another_of_everything_else():
    images = render_people(3, 2, 2, size=32)
    for person in range(2):
        for picture in range(2):
            face = SHOWN + 2 * person + picture
            expected = render_face(3, face, 32, identity=face_identity(3, person)).image
            assert np.array_equal(images[person, picture].permute(1, 2, 0), expected)
    corners = images[:, :, :, 0, 0].flatten(0, 1)
    assert len({tuple(each.tolist()) for each in corners}) == 4  # four backgrounds


def test_pairs_are_two_pictures_of_one_person():
    shades = torch.arange(4, dtype=torch.uint8).mul(60)[:, None, None, None, None]
    images = (shades + torch.arange(3, dtype=torch.uint8)[:, None, None, None]).expand(4, 3, 3, 8, 8)
    torch.manual_seed(0)
    for person in range(4):
        first, second = (PairsOfPeople(images)[person]["image"] * 255).flatten(1).mean(1).round().tolist()
        assert first != second
        assert {int(first) // 60, int(second) // 60} == {person}


def test_blurring_keeps_the_mean_and_takes_detail():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(blurred(image, 1), image)
    assert blurred(image, 2).std() < 0.6 * image.std()
    assert blurred(image, 2).mean() == pytest.approx(float(image.mean()), abs=0.01)


def test_parts_are_of_different_people_and_batches_as_documented(tmp_path):
    data = PeopleWorld(**FEW)
    data.trainer = quiet_trainer(tmp_path, [])
    data.setup("fit")
    data.setup("test")
    (batch, _) = data.train_dataloader()
    assert batch["image"].shape == (2, 2, 3, 32, 32)
    first, second, third = data.val_dataloader()
    assert first["task"] == "people"
    assert torch.cat([first["label"], second["label"], third["label"]]).tolist() == [0, 0, 0, 1, 1, 1]
    tested = next(iter(data.test_dataloader()))
    assert first["image"].shape == tested["image"].shape == (2, 3, 32, 32)
    assert not torch.equal(first["image"], tested["image"])
    again = PeopleWorld(**FEW)
    again.trainer = data.trainer
    again.setup("fit")
    assert torch.equal(next(iter(again.train_dataloader()))["image"], batch["image"])


def test_too_few_people_are_refused():
    with pytest.raises(UserError, match="4 samples, less than one global batch of 5"):
        PeopleWorld(**FEW | {"batch_size": 5}).setup("fit")
