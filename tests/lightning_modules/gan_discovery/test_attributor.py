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
