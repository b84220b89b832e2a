import pytest
import torch

from datamodules.detection.scene_crops import Crops, SceneCrops
from datamodules.detection.scenes import NAMES, scene_record
from datamodules.procedural.scenes.crowds import Crowd
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from networks.box_diffusion import PLACES, painted_boxes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

FEW = {"scenes": 6, "test_scenes": 3, "image_size": 64, "crop_size": 32, "batch_size": 2, "objects": [3, 4]}
CROWD = Crowd((3, 4), tail=0.0)


def ready(folder, **options):
    data = SceneCrops(**(FEW | options))
    data.trainer = quiet_trainer(folder, [])
    data.setup("fit")
    return data


def test_batches_are_as_documented(tmp_path):
    data = ready(tmp_path)
    first, *_ = data.train_dataloader()
    assert first["image"].shape == (2, 3, 32, 32)
    assert first["planes"].shape == (2, PLACES + len(NAMES), 32, 32)
    assert 0 <= first["image"].min() < first["image"].max() <= 1
    held_out, rest = data.val_dataloader()
    assert held_out["task"] == rest["task"] == "boxes"
    assert len(rest["image"]) == 1
    (again, *_), (known, _) = ready(tmp_path).train_dataloader(), data.val_dataloader()
    assert torch.equal(again["image"], first["image"])
    assert torch.equal(known["planes"], held_out["planes"])


def test_every_epoch_has_other_crops(tmp_path):
    loader = ready(tmp_path).train_dataloader()
    epochs = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        epochs.append(torch.cat([each["image"] for each in loader]).sum(0))
    assert not torch.equal(*epochs)


def test_a_crop_is_a_part_of_its_scene_with_the_planes_of_that_part():
    crops = Crops(5, 1, CROWD, sizes=(64, 32), left=0.0)
    record = scene_record(5, 0, 64, CROWD, with_masks=False)
    whole = torch.from_numpy(record.read()).permute(2, 0, 1) / 255
    planes = painted_boxes(torch.from_numpy(record.boxes), record.labels.tolist(), len(NAMES), (64, 64))
    torch.manual_seed(0)
    for _ in range(5):
        found = crops[0]
        places = [
            (x, y)
            for x in range(33)
            for y in range(33)
            if torch.equal(whole[:, y : y + 32, x : x + 32], found["image"])
        ]
        ((x, y),) = places
        assert torch.equal(planes[:, y : y + 32, x : x + 32], found["planes"])
        assert found["planes"][0, 8:24, 8:24].any(), "an object is in its middle half, or the scene ends"


def test_of_all_objects_at_least_one_is_drawn():
    torch.manual_seed(0)
    crops = Crops(5, 2, CROWD, sizes=(64, 64), left=0.9)
    covered = [crops[number % 2]["planes"][0].mean().item() for number in range(8)]
    everything = Crops(5, 2, CROWD, sizes=(64, 64), left=0.0)
    assert all(each > 0 for each in covered)
    assert sum(covered) < 0.8 * sum(everything[number % 2]["planes"][0].mean().item() for number in range(8))


def test_validation_is_of_another_world(tmp_path):
    data = ready(tmp_path, crop_size=64)
    known = {scene_record(world, 0, 64, CROWD, with_masks=False).read().tobytes() for world in (0, HELD_OUT_WORLD)}
    found = [batch["image"][0] for batch in (next(iter(data.val_dataloader())),)]
    assert len(known) == 2
    expected = scene_record(HELD_OUT_WORLD, 0, 64, CROWD, with_masks=False).read()
    assert torch.equal((found[0] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(expected))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_size": 96}, "crop_size is 96, more than the 64 pixels"),
        ({"objects": [4, 3]}, "the smaller value first"),
        ({"left": 1.0}, "left"),
    ],
)
def test_what_cannot_be_is_told(wrong, message):
    with pytest.raises(UserError, match=message):
        SceneCrops(**(FEW | wrong))


def test_too_few_scenes_are_told_before_they_are_drawn(tmp_path):
    with pytest.raises(UserError, match="6 samples"):
        ready(tmp_path, batch_size=7)
