import pytest
import torch
from torch.nn import functional as F

from networks.feature_maps import principal_colours, self_similarity


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_self_similarity_is_the_stretched_cosine():
    features = random(5, 4, 6)
    similarity = self_similarity(features, 2, 3)
    cosine = F.cosine_similarity(features, features[:, 2:3, 3:4], dim=0)
    torch.testing.assert_close(similarity, (cosine - cosine.min()) / (cosine.max() - cosine.min()))
    assert similarity[2, 3] == 1
    assert self_similarity(torch.ones(5, 4, 6), 2, 3).abs().max() == 0


def test_colours_are_the_principal_components():
    """Against scikit-learn: every channel is one component, up to sign and stretching."""
    from sklearn.decomposition import PCA

    features = F.normalize(random(10, 12, 9) * torch.arange(10, 0, -1)[:, None, None], dim=0)
    scores = PCA(3, whiten=True).fit_transform(features.flatten(1).T.numpy())
    colours = principal_colours([[features]])[0][0].flatten(0, 1)
    inner = ((colours > 0) & (colours < 1)).all(1)  # outside the middle 98 % colours are cut off
    correlation = torch.corrcoef(torch.cat([colours[inner].T, torch.from_numpy(scores).float()[inner].T]))[:3, 3:]
    torch.testing.assert_close(correlation.diagonal().abs(), torch.ones(3), atol=1e-3, rtol=0)


def test_methods_are_turned_to_agree():
    """The same content in other channels, mirrored and finer, gets the same colours."""
    base = [F.interpolate(random(1, 6, 3, 3, seed=s), (12, 12), mode="bilinear")[0] for s in range(2)]
    mirrored = [-x[[3, 1, 5, 0, 2, 4]] for x in base]
    finer = [F.interpolate(x[None], scale_factor=2, mode="bilinear")[0] for x in mirrored]
    first, second, third = principal_colours([base, mirrored, finer])
    for a, b, c in zip(first, second, third, strict=True):
        assert a.shape == (12, 12, 3)
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)
        assert (F.avg_pool2d(c.permute(2, 0, 1), 2).permute(1, 2, 0) - a).abs().mean() < 0.06


@pytest.mark.parametrize("features", [torch.ones(8, 4, 4), torch.zeros(8, 4, 4), random(2, 4, 4), random(8, 1, 1)])
def test_degenerate_features_give_finite_colours(features):
    (colours,) = principal_colours([[features]])[0]
    assert colours.shape == (*features.shape[1:], 3)
    assert torch.isfinite(colours).all()
    assert 0 <= colours.min() <= colours.max() <= 1


def test_constant_features_are_grey():
    torch.testing.assert_close(principal_colours([[torch.ones(8, 4, 4)]])[0][0], torch.full((4, 4, 3), 0.5))
