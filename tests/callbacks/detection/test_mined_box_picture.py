from unittest import mock

import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule
from torch.utils.data import DataLoader

from callbacks.detection import mined_box_picture
from callbacks.detection.mined_box_picture import ANNOTATED, MINED, REMOVED, MinedBoxPicture, draw
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*configure_optimizers"),
    pytest.mark.filterwarnings("ignore:`training_step` returned `None`"),
]


class Plain(LightningModule):
    """Trains nothing."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        return None


class Miner(Plain):
    """Mines one box in every picture, and writes down in which mode."""

    def __init__(self):
        super().__init__()
        self.asked: list[tuple[int, bool]] = []

    def mined(self, batch):
        self.asked.append((batch["number"], self.training))
        return [torch.tensor([[4.0, 4, 20, 20]]) for _ in batch["image"]]


def batch(number=0, count=2, size=(40, 60), task="detection"):
    return {
        "task": task,
        "number": number,
        "image": [torch.full((3, *size), 20 * number, dtype=torch.uint8) for _ in range(count)],
        "boxes": [torch.tensor([[10.0, 10, 30, 30]]) for _ in range(count)],
        "removed_boxes": [torch.tensor([[30.0, 5, 50, 35], [1.0, 1, 9, 9]]) for _ in range(count)],
    }


def fitted(folder, batches, module=None, images=6):
    """Return the module, the pictures that were drawn, and the file."""
    module = module or Miner()
    with mock.patch.object(mined_box_picture, "draw", wraps=draw) as spy:
        quiet_trainer(folder, [MinedBoxPicture(images)]).fit(module, DataLoader(batches, batch_size=None))
    return module, spy.call_args.args[0] if spy.called else [], folder / "pictures" / "mined_boxes.png"


def outlines(panel):
    """Return colour, style and corners, in pixels of the picture, of all rectangles."""
    from matplotlib.colors import to_hex

    found = []
    for patch in panel.patches:
        x, y, width, height = (float(value) for value in (patch.get_x(), patch.get_y(), *patch.get_bbox().size))
        style = patch.get_linestyle()
        found.append(
            (to_hex(patch.get_edgecolor()).upper(), style, (x + 0.5, y + 0.5, x + 0.5 + width, y + 0.5 + height))
        )
    return found


def test_the_picture_has_every_kind_of_box_at_its_place():
    picture = {key: value[0] for key, value in batch().items() if isinstance(value, list)}
    figure = draw([picture | {"mined": torch.tensor([[4.0, 4, 20, 20]])}])
    assert outlines(figure.axes[0]) == [
        (REMOVED, "--", (30, 5, 50, 35)),
        (REMOVED, "--", (1, 1, 9, 9)),
        (ANNOTATED, "-", (10, 10, 30, 30)),
        (MINED, "-", (4, 4, 20, 20)),
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("annotated", "removed from the annotations", "mined")
    ]
    shown = figure.axes[0].get_images()[0].get_array()
    assert shown.shape == (40, 60, 3)


def test_pictures_without_any_box():
    empty = {key: torch.zeros(0, 4) for key in ("boxes", "mined", "removed_boxes")}
    figure = draw([empty | {"image": torch.zeros(3, 20, 30, dtype=torch.uint8)}])
    assert not figure.axes[0].patches


@pytest.mark.parametrize(("count", "panels"), [(1, 1), (3, 3), (4, 6), (6, 6)])
def test_three_pictures_a_row(count, panels):
    picture = {key: value[0] for key, value in batch().items() if isinstance(value, list)}
    figure = draw([picture | {"mined": torch.zeros(0, 4)}] * count)
    assert len(figure.axes) == panels
    assert sum(bool(panel.get_images()) for panel in figure.axes) == count


def test_shows_the_last_batches(tmp_path):
    module, drawn, path = fitted(tmp_path, [batch(k) for k in range(5)], images=3)
    assert [int(each["image"][0, 0, 0]) // 20 for each in drawn] == [4, 4, 3]
    assert module.asked == [(4, False), (3, False)]  # in evaluation mode, and no more than needed
    with Image.open(path) as image:
        assert image.width > image.height > 100


def test_fewer_pictures_than_asked_for(tmp_path):
    _, drawn, path = fitted(tmp_path, [batch(count=1)], images=6)
    assert len(drawn) == 1
    assert path.is_file()


def test_pictures_of_several_sizes(tmp_path):
    mixed = batch(count=2)
    mixed["image"][1] = torch.zeros(3, 90, 30, dtype=torch.uint8)
    _, drawn, _ = fitted(tmp_path, [mixed])
    assert [tuple(each["image"].shape) for each in drawn] == [(3, 40, 60), (3, 90, 30)]


def test_keeps_no_more_batches_than_it_needs():
    callback = MinedBoxPicture(images=3)

    class FakeTrainer:
        is_global_zero = True

    for k in range(9):
        callback.on_train_batch_end(FakeTrainer(), Miner(), None, batch(k), k)  # type: ignore[arg-type]
    assert [each["number"] for each in callback._last] == [7, 8]
    FakeTrainer.is_global_zero = False
    callback.on_train_batch_end(FakeTrainer(), Miner(), None, batch(9), 9)  # type: ignore[arg-type]
    assert callback._last[-1]["number"] == 8


def test_other_tasks_and_modules_that_mine_nothing(tmp_path):
    assert not fitted(tmp_path, [batch(task="images")])[2].exists()
    assert not fitted(tmp_path, [batch()], Plain())[2].exists()


def test_mode_is_put_back(tmp_path):
    module, _, _ = fitted(tmp_path, [batch()])
    assert module.training


def test_number_of_pictures():
    with pytest.raises(UserError, match="at least 1"):
        MinedBoxPicture(images=0)
