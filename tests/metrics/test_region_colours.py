import numpy as np
import pytest
import torch

from metrics.region_colours import REGIONS, nearest_colours, region_colours

ROW = {name: place for place, name in enumerate(REGIONS)}


def test_the_mean_colour_of_each_region():
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    labels[0, 0], labels[0, 1], labels[0, 2, :3] = 13, 1, 18
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0, 0] = torch.tensor([0.0, 0.4, 0.4, 0.0])
    image[0, :, 1] = 1.0
    found = region_colours(image, labels)[0]
    assert found[ROW["hair"]].tolist() == pytest.approx([0.2, 0, 0])
    assert found[ROW["skin"]].tolist() == [1, 1, 1]
    assert found[ROW["background"]].tolist() == [0, 0, 0]
    assert found[ROW["cloth"]].isnan().all()  # of three pixels
    assert found[ROW["hat"]].isnan().all()


def test_the_nearest_over_the_regions_that_both_have():
    nan = np.nan
    people = torch.tensor([[[0.0] * 3, [0.0] * 3], [[1.0] * 3, [nan] * 3], [[0.5] * 3, [1.0] * 3]])
    pictures = torch.tensor([[[0.9] * 3, [0.2] * 3], [[0.5] * 3, [nan] * 3], [[0.2] * 3, [0.1] * 3]])
    assert nearest_colours(pictures, people).tolist() == [1, 2, 0]
    nothing = torch.full((1, 2, 3), nan)
    assert nearest_colours(nothing, people).tolist() == [0]
