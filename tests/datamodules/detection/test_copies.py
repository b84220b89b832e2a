import pytest
import torch

from datamodules import DetectionScenes
from datamodules.detection.copies import ShownCopies
from datamodules.detection.scenes import NAMES
from datamodules.detection.synthetic import SyntheticPictures
from tests.helpers.generated_pictures import SIZE, write_generated

COPIES = 3


def shown(folder):
    """Return copies of four real pictures, the last of which has one alone."""
    path = write_generated(folder, count=10, copies=COPIES)
    return ShownCopies(SyntheticPictures(str(path)).records(NAMES))


def test_one_copy_of_every_picture_is_shown_the_first_and_then_the_hardest(tmp_path):
    found = shown(tmp_path)
    assert len(found) == 4
    assert found.files == ["0-0.png", "1-0.png", "2-0.png", "3-0.png"]
    found.show_hardest([0.1, 0.3, 0.2, 0.5, 0.5, 0.5, -1.0, -1.0, 0.0, -1.0])
    assert found.files == ["0-1.png", "1-0.png", "2-2.png", "3-0.png"], "of equally hard ones the first"
    assert [int(each.read().mean()) // 10 for each in found] == [1, 3, 8, 9]
    assert [each.image_id for each in found[1:3]] == [found[1].image_id, found[2].image_id] == [3, 8]


def test_a_choice_is_shown_again_if_its_pictures_are_there(tmp_path):
    found = shown(tmp_path)
    assert found.show(["0-2.png", "1-1.png", "2-0.png", "3-0.png"])
    assert found.files == ["0-2.png", "1-1.png", "2-0.png", "3-0.png"]
    for other in (["0-3.png", *found.files[1:]], found.files[:3], ["1-0.png", "0-0.png", "2-0.png", "3-0.png"]):
        assert not found.show(other)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_choice_between_epochs_reaches_processes_that_load_already(num_workers, tmp_path):
    path = write_generated(tmp_path, count=9, copies=COPIES)
    synthetic = {"annotations": str(path), "probability": 1.0, "copies": "one"}
    data = DetectionScenes(
        scenes=3, test_scenes=2, image_size=SIZE, batch_size=3, synthetic=synthetic, num_workers=num_workers
    )
    data.setup("fit")
    loader = data.train_dataloader()
    seen = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        seen.append(sorted(int(image.float().mean()) // 10 for batch in loader for image in batch["image"]))
        data.shown.show_hardest(torch.arange(9).tolist() if epoch == 0 else [0.0, 1.0, 0.0] * 3)
    assert seen == [[0, 3, 6], [2, 5, 8], [1, 4, 7]]
    everything = [int(image.float().mean()) // 10 for batch in data.copies_loader() for image in batch["image"]]
    assert everything == list(range(9))
