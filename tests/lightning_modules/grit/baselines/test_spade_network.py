import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl_divergence
from torch.nn import functional as F

from lightning_modules.grit.baselines.spade_network import (
    ImageEncoder,
    SPADEGenerator,
    SPADEGeneratorOptions,
    kl_divergence,
    sample_style,
)
from visionscapes.errors import UserError

CLASSES = 4


def small(image_size=32, start=4, norm="batch", **changes):
    torch.manual_seed(0)
    options = SPADEGeneratorOptions(**({"style_dim": 6, "base": 4, "hidden": 8} | changes))
    return SPADEGenerator(CLASSES, image_size, options, start=start, norm=norm)


def condition(size=32, number=2):
    labels = torch.randint(CLASSES, (number, size, size), generator=torch.Generator().manual_seed(0))
    return F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    ("image_size", "start", "expected"),
    [
        (256, 4, [1024, 1024, 1024, 512, 256, 128, 64]),  # the paper
        (512, 8, [1024, 1024, 1024, 512, 256, 128, 64]),  # official code, "more"
        (64, 4, [1024, 512, 256, 128, 64]),
        (64, 64, [64]),
    ],
)
def test_blocks_at_every_resolution(image_size, start, expected, monkeypatch):
    built = []

    class Block(nn.Module):
        def __init__(self, inner, outer, *_, **__):
            super().__init__()
            built.append((inner, outer))

    monkeypatch.setattr("lightning_modules.grit.baselines.spade_network.SPADEResidualBlock", Block)
    with torch.device("meta"):
        network = SPADEGenerator(19, image_size, start=start)
    assert [outer for _, outer in built] == expected
    assert [inner for inner, _ in built] == [expected[0], *expected[:-1]]
    assert network.first.out_features == expected[0] * start**2


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [
        (256, [64, 128, 256, 512, 512, 512]),  # the paper
        (512, [64, 128, 256, 512, 512, 512]),  # shrunk to 256
        (64, [64, 128, 256, 512]),
        (8, [64]),
    ],
)
def test_encoder_ends_at_four_pixels(image_size, expected):
    with torch.device("meta"):
        encoder = ImageEncoder(image_size, 256, 64)
        convs = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
        assert [conv.out_channels for conv in convs] == expected
        mean, log_variance = encoder(torch.empty(2, 3, image_size, image_size))
    assert mean.shape == log_variance.shape == (2, 256)
    assert encoder.mean.in_features == expected[-1] * 16


def test_large_style_images_are_shrunk():
    torch.manual_seed(0)
    encoder = ImageEncoder(512, 4, 2).eval()
    image = torch.rand(1, 3, 512, 512)
    halves = F.interpolate(image, (256, 256), mode="bilinear", align_corners=False)
    assert torch.equal(encoder(image)[0], encoder(halves)[0])


@pytest.mark.parametrize("start", [4, 16])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_shape_and_range(start, norm):
    network = small(start=start, norm=norm)
    image = network(condition(), torch.randn(2, 6))
    assert image.shape == (2, 3, 32, 32)
    assert image.abs().max() < 1
    assert image.std() > 0


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_weight(autocast):
    network = small()
    style_image = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        mean, log_variance = network.encode(style_image)
        image = network(condition(), sample_style(mean, log_variance))
    assert mean.dtype == torch.float32
    ((image.float() - style_image).abs().mean() + kl_divergence(mean, log_variance)).backward()
    for name, weight in network.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_style_and_condition_both_matter():
    network = small().eval()
    first, second = torch.randn(2, 1, 6)
    one, other = condition()[:1], condition()[1:]
    image = network(one, first)
    assert (network(one, second) - image).abs().max() > 1e-3 * image.std()
    assert (network(other, first) - image).abs().max() > 1e-3 * image.std()
    assert torch.equal(network(one, first), image)


def test_initial_weights():
    network = small(style_dim=300, base=16)
    glorot = 0.02 * (2 / sum(network.first.weight.shape)) ** 0.5
    assert network.first.weight.std().item() == pytest.approx(glorot, rel=0.05)
    assert not any(bias.any() for name, bias in network.named_parameters() if name.endswith("bias"))
    # Spectral norm's weights keep the singular vectors that they were made with.
    for module in network.eval().modules():
        if isinstance(module, nn.Conv2d) and hasattr(module, "parametrizations"):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


def test_sample_statistics():
    mean, log_variance = torch.tensor([[-2.0, 3.0]]), torch.tensor([[0.0, 1.5]])
    styles = sample_style(mean.expand(40000, -1), log_variance.expand(40000, -1), torch.Generator().manual_seed(0))
    assert torch.allclose(styles.mean(0), mean[0], atol=0.05)
    assert torch.allclose(styles.var(0), log_variance[0].exp(), rtol=0.05)


def test_sample_is_repeatable_and_differentiable():
    mean, log_variance = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    styles = [sample_style(mean, log_variance, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(styles[0], styles[1])
    assert not torch.equal(styles[0], styles[2])
    styles[0].sum().backward()
    assert torch.equal(mean.grad, torch.ones(2, 3))
    assert torch.allclose(log_variance.grad, (styles[0] - mean).detach() / 2)
    torch.manual_seed(0)
    assert torch.equal(sample_style(mean, log_variance), styles[0])


def test_kl_divergence_equals_torch():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    expected = torch_kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert torch.allclose(kl_divergence(mean, log_variance), expected, rtol=1e-5)
    assert kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_wrong_sizes():
    for size in (48, 4):
        with pytest.raises(UserError, match=f"SPADE at {size} px"):
            small(image_size=size)
    for start in (3, 64, 0):
        with pytest.raises(UserError, match=f"starting at {start} px"):
            small(start=start)
