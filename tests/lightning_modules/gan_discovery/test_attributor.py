import numpy as np
from sklearn.preprocessing import StandardScaler

from lightning_modules.gan_discovery.attributor import moments
from tests.lightning_modules.gan_discovery.cases import blobs


def test_moments_equal_scikit_learns_also_for_dead_units() -> None:
    reference, features = blobs([30, 30], seed=1)[0], blobs([20, 20], seed=2)[0]
    reference[:, 3], features[:, 4] = 0, 0
    reference[:, 5] = 0.1  # 60 times 0.1 has a mean that is not 0.1 as float32
    expected = StandardScaler().fit(reference.astype(np.float64)).transform(features.astype(np.float64))
    mean, deviation = moments(reference)
    np.testing.assert_allclose((features - mean) / deviation, expected, rtol=1e-4, atol=1e-5)
