import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from lightning_modules.gan_discovery.attributor import Attributor, FeatureTransform, moments
from lightning_modules.gan_discovery.detectors import Distance, fit_detectors
from lightning_modules.gan_discovery.wta import WTAHash
from tests.lightning_modules.gan_discovery.cases import blobs


def test_moments_equal_scikit_learns_also_for_dead_units() -> None:
    reference, features = blobs([30, 30], seed=1)[0], blobs([20, 20], seed=2)[0]
    reference[:, 3], features[:, 4] = 0, 0
    reference[:, 5] = 0.1  # 60 times 0.1 has a mean that is not 0.1 as float32
    expected = StandardScaler().fit(reference.astype(np.float64)).transform(features.astype(np.float64))
    mean, deviation = moments(reference)
    np.testing.assert_allclose((features - mean) / deviation, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("distance", ["hamming", "cosine"])
def test_of_known_sources_clusters_do_not_count(distance: Distance) -> None:
    features, labels = blobs([20, 20, 20], seed=3)
    positions = WTAHash.fit(features, 64, 2, 0).positions if distance == "hamming" else None
    transform = FeatureTransform(positions, None)
    few = {"distance": distance, "window": 2}
    with_clusters, without = (
        Attributor(transform, fit_detectors(transform(features), labels, range(count), **few), ["a", "b"])
        for count in (3, 2)
    )
    logits = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    found = with_clusters(features, logits)
    np.testing.assert_allclose(found["known_margin"], without.nearest(features)[2], atol=1e-12)
    cluster = labels == 2
    assert (found["margin"].numpy() > found["known_margin"].numpy())[cluster].all()
    assert found["known"].tolist() == logits[:, :2].argmax(1).tolist()
    shares = torch.from_numpy(logits).softmax(1)[range(60), found["known"]]
    np.testing.assert_allclose(found["probability"], shares, rtol=1e-5)


def test_of_the_classes_that_accept_the_classifier_chooses_among_sources_and_has_no_say_about_clusters() -> None:
    """Two known sources side by side, and a cluster that the classifier takes for the second of them."""
    places = {0: (0.0, 0.0), 1: (1.0, 0.0), 2: (30.0, 30.0)}
    noise = np.random.default_rng(0).normal(0, 3, (150, 2))
    labels = np.repeat([0, 1, 2], 50)
    points = np.stack([places[label] for label in labels]) + noise
    features = np.exp(-(((points[:, None] - np.random.default_rng(1).uniform(-10, 40, (40, 2))) / 8) ** 2).sum(2))
    features = features.astype(np.float32)
    transform = FeatureTransform(WTAHash.fit(features, 256, 2, 0).positions, None)
    attributor = Attributor(transform, fit_detectors(transform(features), labels, range(3)), ["a", "b"])
    logits = np.zeros((150, 2), np.float32)
    logits[:50, 0], logits[50:, 1] = 1, 1
    found = attributor(features, logits)
    inside = found["margin"].numpy() > 0
    assert inside.mean() > 0.9
    expected = np.array(["a", "b", "cluster 2"])[labels]
    assert (np.array(found["name"])[inside] == expected[inside]).all()
    assert set(np.array(found["name"])[~inside]) <= {"unknown"}
    detectors = attributor.detectors
    distances = detectors.distances(transform(features))[range(150), labels]
    np.testing.assert_allclose(found["distance"][inside], distances[inside])
    np.testing.assert_allclose(found["margin"][inside], (detectors.thresholds[labels] - distances)[inside])
    # A source whose detector does not accept is not chosen, however sure the classifier is.
    logits[100:] = [0, 100]
    assert set(np.array(attributor(features, logits)["name"])[100:]) <= {"cluster 2", "unknown"}
