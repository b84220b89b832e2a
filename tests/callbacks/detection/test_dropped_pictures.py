import numpy as np
from PIL import Image

from callbacks.detection.dropped_pictures import Dropped, save_dropped


def items(folder, count):
    found = []
    for k in range(count):
        path = folder / f"{k}.png"
        Image.fromarray(np.full((20, 30, 3), 8 * k, np.uint8)).save(path)
        found.append(Dropped(path, (k * 7 % count) / count, f"p{k}", box=(4.0, 4.0, 20.0, 16.0) if k % 2 else None))
    return found


def test_nothing_dropped_is_no_picture(tmp_path):
    save_dropped([], tmp_path / "a.png", 3)
    assert not (tmp_path / "a.png").exists()


def test_the_worst_come_first_and_boxes_are_red(tmp_path):
    save_dropped(items(tmp_path, 30), tmp_path / "all.png", 12)
    save_dropped(items(tmp_path, 1), tmp_path / "one.png", 12)
    with Image.open(tmp_path / "all.png") as many, Image.open(tmp_path / "one.png") as one:
        assert many.height > 1.8 * one.height  # two rows
        pixels = np.array(many.convert("RGB")).astype(int)
    assert ((pixels[..., 0] > 200) & (pixels[..., 1:].max(-1) < 60)).any()
