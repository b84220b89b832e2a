import numpy as np
import pytest
from PIL import Image

from callbacks.results.figures import PALETTE, as_png, new_figure, save_figure


def test_colours_differ_and_are_colours():
    assert len(set(PALETTE)) == len(PALETTE) == 8
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in PALETTE)


@pytest.mark.parametrize("side", [1, 16])  # inches; a grid of many photographs takes megabytes
def test_a_figure_keeps_its_resolution_however_large_the_file(tmp_path, side):
    figure = new_figure(side, side)
    figure.figimage(np.random.default_rng(0).random((110 * side, 110 * side, 3)))
    save_figure(figure, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert picture.size == (110 * side, 110 * side)
    assert ((tmp_path / "new" / "a.png").stat().st_size > 3_000_000) == (side > 1)
    assert (tmp_path / "new" / "a.png").read_bytes() == as_png(figure, 110)
