from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from callbacks.dense.feature_pictures import ImageFeatures, PrincipalComponentPicture, SelfSimilarityPicture
from callbacks.results.figures import save_figure
from networks.cells import Cells
from tests.helpers.dense_case import TinyModule, object_discovery_loaders, run_test
from tests.helpers.quiet_trainer import quiet_trainer


@pytest.mark.parametrize("picture", [SelfSimilarityPicture, PrincipalComponentPicture])
def test_writes_one_picture_for_every_size(tmp_path, picture):
    run_test(tmp_path, [picture(images=3, methods=["base", "bilinear"])], object_discovery_loaders(6, (32, 64)))
    files = sorted((tmp_path / "pictures").iterdir())
    assert [file.name for file in files] == [f"{picture.name}_32.png", f"{picture.name}_64.png"]
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert (pixels.reshape(-1, 3).max(0) - pixels.reshape(-1, 3).min(0) > 100).all()


@pytest.mark.parametrize("picture", [SelfSimilarityPicture, PrincipalComponentPicture])
def test_shows_images_to_predict_whatever_their_sizes(tmp_path, picture):
    batches = [{"task": "predict", "image": torch.rand(3, h, w), "path": "x"} for h, w in [(32, 48), (64, 32)]]
    trainer = quiet_trainer(tmp_path, [picture(images=2)])
    trainer.predict(
        TinyModule(), DataLoader(batches, batch_size=1, collate_fn=lambda b: b[0] | {"image": b[0]["image"][None]})
    )
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == [f"{picture.name}.png"]


def test_takes_no_more_images_than_asked_and_no_other_task(tmp_path):
    drawn = []

    class Counting(SelfSimilarityPicture):
        def draw(self, rows):
            drawn.append(len(rows))
            return super().draw(rows)

    run_test(
        tmp_path, [Counting(images=3), Counting(images=3, task="other")], object_discovery_loaders(6, batch_size=2)
    )
    assert drawn == [3]


def test_marker_lies_on_the_central_cell():
    row = ImageFeatures(torch.zeros(3, 32, 48), {"base": torch.randn(4, 8, 12)})
    figure = SelfSimilarityPicture().draw([row])
    for panel in figure.axes:
        (marker,) = panel.lines
        assert (float(marker.get_xdata()[0]), float(marker.get_ydata()[0])) == (26, 18)  # cell (4, 6) of 4 pixels
    assert [panel.get_title().split("\n")[0] for panel in figure.axes] == ["image", "base"]


@pytest.mark.parametrize("picture", [SelfSimilarityPicture, PrincipalComponentPicture])
def test_covered_cells_are_drawn_where_they_lie(picture):
    """Of 36 x 51 pixels 8 x 12 cells of four, from the second pixel on, leave a border at every side."""
    features = {"base": torch.randn(4, 8, 12), "official": torch.randn(4, 8, 12)}
    row = ImageFeatures(torch.zeros(3, 36, 51), features, {"base": Cells(1, 4), "official": None})
    figure = picture().draw([row])
    image, base, official = figure.axes
    assert image.images[0].get_extent() == official.images[0].get_extent() == [0, 51, 36, 0]
    assert base.images[0].get_extent() == [1, 49, 33, 1]
    assert {(panel.get_xlim(), panel.get_ylim()) for panel in figure.axes} == {((0, 51), (36, 0))}
    for panel in figure.axes:
        for marker in panel.lines:
            assert (float(marker.get_xdata()[0]), float(marker.get_ydata()[0])) == (27, 19)  # centre of cell (4, 6)


def test_long_names_of_methods_do_not_run_into_each_other(tmp_path):
    names = ["vit_small_patch16_224 layer 11", "bilinear to the size of the other", "x" * 40]
    row = ImageFeatures(torch.zeros(3, 32, 32), {name: torch.randn(4, 8, 8) for name in names}, dict.fromkeys(names))
    figure = PrincipalComponentPicture().draw([row])
    save_figure(figure, tmp_path / "a.png")
    extents = [panel.title.get_window_extent() for panel in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(extents))


def test_many_photographs_are_shown_as_large_as_few(tmp_path):
    photographs = [{"task": "predict", "image": torch.rand(1, 3, 192, 256), "path": f"{n}.jpg"} for n in range(18)]
    trainer = quiet_trainer(tmp_path, [PrincipalComponentPicture(images=18, methods=["base", "bilinear"])])
    trainer.predict(TinyModule(), DataLoader(photographs, batch_size=1, collate_fn=lambda b: b[0]))
    with Image.open(tmp_path / "pictures" / "principal_components.png") as picture:
        assert picture.width >= 3 * 160  # pixels a panel, so that its title of two lines can be read
        assert picture.height >= 18 * 160 * 0.75
