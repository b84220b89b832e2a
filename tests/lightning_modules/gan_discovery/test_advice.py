import numpy as np

from lightning_modules.gan_discovery.advice import FOLDERS, of_clusters, of_images, of_size, of_sizes, of_steps
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
    assert of_steps(200, None) is None
    assert "for 4 steps: too few" in str(of_steps(4, None))
    assert "--model.epochs" not in str(of_steps(4, None))


def test_clusters_that_are_smaller_than_tau_are_told_before_they_are_made() -> None:
    stages = Stages(k=60, tau=8)
    assert of_sizes(1, stages.sizes_of(1, 480), stages, 900) is None
    advice = of_sizes(1, stages.sizes_of(1, 312), stages, 900)
    assert advice is not None
    assert "5.2 images on average, 60 of 312 images left" in advice
    assert "--model.stages.k=null --model.stages.tau=null" in advice


def test_too_few_images_are_told_with_what_takes_them() -> None:
    stages = Stages(k=60, tau=8, percentile=0.9)
    advice = of_sizes(2, stages.sizes_of(2, 60), stages, 900)
    assert advice is not None
    assert "60 images are left for 60 clusters" in advice
    assert "--model.stages.percentile, 0.9 now" in advice
    assert all(of_sizes(1, Stages().sizes_of(1, left), Stages(), 5000) is None for left in range(5, 5000))
    assert "k=null" not in str(of_sizes(1, Stages().sizes_of(1, 2), Stages(), 900))


def test_fewer_images_than_clusters_take_are_told_with_what_helps() -> None:
    assert of_images(4, Stages()) is None
    assert "3 to be discovered: 2 clusters of 2 take at least 4" in str(of_images(3, Stages()))
    assert "tau" not in str(of_images(3, Stages()))
    assert "take at least 16. Give more images, --data.discovery=<folder>, or lower" in str(
        of_images(15, Stages(tau=8))
    )
    assert of_images(15, Stages(tau=8, method="reclustering")) is None  # which has no tau
    advice = of_sizes(1, Stages().sizes_of(1, 1), Stages(), 2)
    assert advice == "round 1 finds no new cluster: 1 image is left for 2 clusters, of 2 to be discovered: give more"


def test_a_round_without_clusters_is_told() -> None:
    sizes, stages = Sizes(60, 8, 312), Stages(k=60)
    advice = of_clusters(1, sizes, np.array([-1, 0, 1, -1]), 2, stages)
    assert advice is not None
    assert "round 1 ends without a single cluster" in advice
    assert FOLDERS in advice
    assert "null" not in str(of_clusters(1, sizes, np.array([-1, 0, 1, -1]), 2, Stages()))  # they are null already
    assert of_clusters(1, sizes, np.array([-1, 0, 2, 2]), 2, stages) is None
    assert of_clusters(1, Sizes(2, 2, 0), np.array([0, 1]), 2, stages) is None  # everything is of a known source
    assert of_clusters(1, Sizes(2, 2, 1), np.array([0, -1]), 2, stages) is None  # nothing was dissolved


def test_images_of_another_size_than_was_trained_on():
    assert of_size(64, 64) is None
    assert of_size(64, None) is None
    assert "trained on 16: " in of_size(64, 16)
    assert of_size(64, 16).endswith("--data.image_size=16")
