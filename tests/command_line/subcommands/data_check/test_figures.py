import io

import numpy as np
import pytest
from PIL import Image

from command_line.subcommands.data_check import figures as module
from command_line.subcommands.data_check.figures import figures_of, file_name
from datamodules.common.inspection.contents import Boxes, PartContents, picture_files
from datamodules.common.inspection.files import look_at_files
from datamodules.common.inspection.inspect_data import DataReport
from tests.helpers.image_files import pixels, save_photo


def shown(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_what_there_is_gets_a_picture(tmp_path):
    part = picture_files([save_photo(tmp_path / f"{k}.png", 40 + k, 30) for k in range(3)])
    boxes = Boxes(np.array([[0, 0, 9, 9]], np.float32), np.array([0]), np.array([[30, 40]]))
    report = DataReport(
        "Data",
        {"train": part, "val": PartContents(["x"], open=part.open, boxes=boxes)},
        {"train": look_at_files("train", part, None)},
        examples={"train": [Image.fromarray(pixels(160, 160))] * 24, "val": []},
    )
    pictures = figures_of(report)
    assert set(pictures) == {"examples_train.png", "sizes.png", "aspects.png", "box_sizes.png", "box_aspects.png"}
    assert all(shown(content).std() > 1 for content in pictures.values()), "nothing is blank"


@pytest.mark.parametrize("sides", [[(70, 50), (70, 51), (70, 63)], [(33, 40), (60, 60)], [(640, 480), (4000, 30)]])
def test_both_axes_of_sizes_name_numbers(tmp_path, monkeypatch, sides):
    """Between powers of two, a logarithmic axis would name none."""
    drawn = []
    monkeypatch.setattr(module, "as_png", lambda figure, dpi=None: drawn.append(figure) or b"")
    part = picture_files([save_photo(tmp_path / f"{k}.png", *size) for k, size in enumerate(sides)])
    figures_of(DataReport("Data", {"train": part}, {"train": look_at_files("train", part, None)}))
    (panel,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    for axis, (low, high) in ((panel.xaxis, sorted(panel.get_xlim())), (panel.yaxis, sorted(panel.get_ylim()))):
        named = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
        assert len(named) >= 2
        assert all(tick == int(tick) for tick in named)


def test_nothing_to_show_gives_no_picture(tmp_path):
    part = picture_files([save_photo(tmp_path / f"{k}.png") for k in range(2)])
    assert figures_of(DataReport("Data", {"train": part}, {"train": look_at_files("x", part, None)})) == {}


def test_names_of_loaders_become_names_of_files():
    assert file_name("val images@64") == "val_images_64"
