import numpy as np

from lightning_modules.gan_discovery.advice import FOLDERS, of_clusters, of_sizes, of_steps
from lightning_modules.gan_discovery.stages import Sizes, Stages
from tests.helpers.runs import ROOT


def test_few_steps_are_told() -> None:
    assert of_steps(620, 10) is None
    advice = of_steps(112, 10)
    assert advice is not None
    assert "112 steps" in advice
    assert "--model.epochs=null" in advice
    assert FOLDERS in advice
    assert (ROOT / FOLDERS).is_file()


def test_clusters_that_are_smaller_than_tau_are_told_before_they_are_made() -> None:
    stages = Stages(k=60, tau=8)
    assert of_sizes(1, stages.sizes_of(1, 480), stages) is None
    advice = of_sizes(1, stages.sizes_of(1, 312), stages)
    assert advice is not None
    assert "5.2 images on average, 60 of 312 images left" in advice
    assert "--model.stages.k=null --model.stages.tau=null" in advice


def test_too_few_images_are_told_with_what_takes_them() -> None:
    stages = Stages(k=60, tau=8, percentile=0.9)
    advice = of_sizes(2, stages.sizes_of(2, 60), stages)
    assert advice is not None
    assert "60 images are left for 60 clusters" in advice
    assert "--model.stages.percentile, 0.9 now" in advice
    assert all(of_sizes(1, Stages().sizes_of(1, left), Stages()) is None for left in range(5, 5000))
    assert "k=null" not in str(of_sizes(1, Stages().sizes_of(1, 2), Stages()))


def test_a_round_without_clusters_is_told() -> None:
    sizes = Sizes(60, 8, 312)
    advice = of_clusters(1, sizes, np.array([-1, 0, 1, -1]), known=2)
    assert advice is not None
    assert "round 1 ends without a single cluster" in advice
    assert of_clusters(1, sizes, np.array([-1, 0, 2, 2]), known=2) is None
    assert of_clusters(1, Sizes(2, 2, 0), np.array([0, 1]), known=2) is None  # everything is of a known source
