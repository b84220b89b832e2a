from callbacks.source_discovery.round_outcome import label_name, truth_of
from tests.callbacks.source_discovery.cases import Images


def test_names_of_labels():
    assert [label_name(label, ["one"]) for label in (-1, 0, 1)] == ["unclustered", "one", "cluster 1"]


def test_the_truth_is_that_of_the_images_that_have_arrived():
    images = Images(count=10)
    assert truth_of(images, 6).tolist() == [0, 1, 2, 3, 0, 1]
    assert truth_of(Images(count=10, with_truth=False), 6) is None
