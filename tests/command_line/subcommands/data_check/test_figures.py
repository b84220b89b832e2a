import io

import numpy as np
from PIL import Image

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
    assert set(pictures) == {"examples_train.png", "sizes.png", "boxes.png"}
    assert all(shown(content).std() > 1 for content in pictures.values()), "nothing is blank"


def test_nothing_to_show_gives_no_picture(tmp_path):
    part = picture_files([save_photo(tmp_path / f"{k}.png") for k in range(2)])
    assert figures_of(DataReport("Data", {"train": part}, {"train": look_at_files("x", part, None)})) == {}


def test_names_of_loaders_become_names_of_files():
    assert file_name("val images@64") == "val_images_64"
