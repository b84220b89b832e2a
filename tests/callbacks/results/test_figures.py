import numpy as np
import pytest
from PIL import Image

from callbacks.results import figures
from callbacks.results.figures import PALETTE, as_png, new_figure, save_figure, save_photographs


def noisy_figure():
    figure = new_figure(4, 3)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.random.default_rng(0).random((60, 80, 3)), interpolation="nearest", aspect="auto")
    return figure


def test_colours_differ_and_are_colours():
    assert len(set(PALETTE)) == len(PALETTE) == 8
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in PALETTE)


def test_a_figure_that_fits_keeps_its_resolution(tmp_path):
    save_figure(noisy_figure(), tmp_path / "new" / "a.png", dpi=50)
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.size == (200, 150)
    assert (tmp_path / "new" / "a.png").read_bytes() == as_png(noisy_figure(), 50)


def test_a_figure_that_is_too_large_loses_resolution_until_it_fits(tmp_path, monkeypatch):
    allowed = int(0.9 * len(as_png(noisy_figure(), 110)))
    monkeypatch.setattr(figures, "LARGEST_PNG", allowed)
    save_figure(noisy_figure(), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size <= allowed
    with Image.open(tmp_path / "a.png") as picture:
        # 110 dots an inch, 0.85 times as many as often as it takes, and not once more.
        steps = np.log(picture.width / 440) / np.log(0.85)
    assert steps == pytest.approx(round(steps), abs=0.1)
    assert len(as_png(noisy_figure(), 110 * 0.85 ** (round(steps) - 1))) > allowed


def test_photographs_get_fewer_colours_before_they_lose_resolution(tmp_path, monkeypatch):
    whole = len(as_png(noisy_figure(), 110))
    monkeypatch.setattr(figures, "LARGEST_PNG", int(0.8 * whole))
    save_photographs(noisy_figure(), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (440, 330)
        assert len(picture.convert("RGB").getcolors(10**6)) <= 256
    assert (tmp_path / "a.png").stat().st_size <= int(0.8 * whole)


def test_a_picture_that_never_fits_is_written_as_small_as_it_gets(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "LARGEST_PNG", 10)
    for save in (save_figure, save_photographs):
        save(noisy_figure(), tmp_path / f"{save.__name__}.png")
        with Image.open(tmp_path / f"{save.__name__}.png") as picture:
            assert 0.85 * 40 * 4 <= picture.width <= 40 * 4
