import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.gan.discriminators import ResidualDiscriminator, StyleGANDiscriminator
from networks.gan.equalized import EqualizedConv2d
from networks.gan.gradient_penalty import gradient_penalty
from networks.gan.losses import GAN_LOSSES
from visionscapes.errors import UserError

KINDS = [StyleGANDiscriminator, ResidualDiscriminator]


def tiny(kind: type, size: int = 16, channels: int = 3, **options) -> nn.Module:
    torch.manual_seed(0)
    return kind(channels, size, base=64, most=8, **options)


@pytest.mark.parametrize("batch", [1, 3, 4, 5])
@pytest.mark.parametrize("size", [4, 8, 32])
@pytest.mark.parametrize("kind", KINDS)
def test_one_logit_an_image(kind, size, batch):
    logits = tiny(kind, size)(torch.randn(batch, 3, size, size))
    assert logits.shape == (batch,)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size", [5, 7, 33, 56])
def test_residual_of_sizes_that_are_no_power_of_two(size):
    assert tiny(ResidualDiscriminator, size)(torch.randn(2, 3, size, size)).shape == (2,)


def test_stylegan_has_the_published_number_of_parameters():
    """The official StyleGAN for 1024 px prints 23 087 249 with a from-RGB layer for every step of growing.

    Those of all resolutions below 1024 are missing here: 3 + 1 parameters a channel.
    """
    with torch.device("meta"):
        network = StyleGANDiscriminator(3, 1024)
    growing = 4 * sum((32, 64, 128, 256, 512, 512, 512, 512))
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_087_249 - growing


def test_lsr_widths():
    """32 at 224 px, then 64 at 112, 128 at 56, 256 at 28, 512 at 14, 7 and 4 (ceil), with no mini-batch statistic."""
    with torch.device("meta"):
        network = ResidualDiscriminator(6, 224, base=7168)
    assert network.from_image.out_channels == 32
    assert [block.second.out_channels for block in network.blocks] == [64, 128, 256, 512, 512, 512]
    assert network.head.convolution.in_channels == 512
    assert network.head.hidden.in_features == 4 * 4 * 512


def test_residual_by_its_equation():
    network = tiny(ResidualDiscriminator, 8)
    x = torch.randn(2, 3, 8, 8)
    inner = F.leaky_relu(network.from_image(x), 0.2)
    (block,) = network.blocks
    hidden = F.leaky_relu(block.first(F.leaky_relu(inner, 0.2)), 0.2)
    inner = (block.shortcut(block.down(inner)) + block.down(block.second(hidden))) / 2**0.5
    inner = F.leaky_relu(network.head.convolution(F.leaky_relu(inner, 0.2)), 0.2)
    inner = F.leaky_relu(network.head.hidden(inner.flatten(1)), 0.2)
    torch.testing.assert_close(network(x), network.head.logit(inner)[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_group_is_what_couples_samples(kind):
    """With the mini-batch statistic a logit depends on the other samples, without it on its own image only."""
    x, other = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    mixed = torch.cat([x[:1], other[1:]])
    coupled, alone = tiny(kind, group=4), tiny(kind, group=1)
    assert not torch.allclose(coupled(x)[0], coupled(mixed)[0])
    torch.testing.assert_close(alone(x)[0], alone(mixed)[0])


def test_residual_without_group_has_no_statistic():
    network = tiny(ResidualDiscriminator)
    x = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(network(x)[:1], network(x[:1]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_starts_at_unit_scale(kind):
    """Activations neither vanish nor explode on the way from 64 px to the head."""
    torch.manual_seed(0)
    scales = []
    network = kind(3, 64, base=1024, most=64)
    for layer in network.modules():
        if isinstance(layer, EqualizedConv2d):
            layer.register_forward_hook(lambda m, arguments, out: scales.append(out.std().item()))
    network(torch.randn(8, 3, 64, 64))
    assert min(scales) > 0.1
    assert max(scales) < 10


@pytest.mark.parametrize("options", [{"group": 2}, {"group": 1}])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_to_second_order(kind, options):
    torch.manual_seed(0)
    network = kind(2, 8, base=16, most=3, **options).double()
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, x)
    assert torch.autograd.gradgradcheck(network, x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_penalty_reaches_the_weights(kind, memory_format):
    """The derivative of R1 along a random direction of the weights is that of finite differences."""
    network = tiny(kind, 8).double().to(memory_format=memory_format)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(gradient_penalty(network(images), images), parameters, materialize_grads=True)
    directions = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum((gradient * way).sum() for gradient, way in zip(gradients, directions, strict=True))

    def moved(step: float) -> torch.Tensor:
        with torch.no_grad():
            torch._foreach_add_(parameters, directions, alpha=step)
        penalty = gradient_penalty(network(images), images).detach()
        with torch.no_grad():
            torch._foreach_add_(parameters, directions, alpha=-step)
        return penalty

    torch.testing.assert_close(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_autocast_and_channels_last(kind):
    network = tiny(kind, 16, group=4)
    x = torch.randn(4, 3, 16, 16)
    expected = network(x)
    network = network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        low = network(x.to(memory_format=torch.channels_last))
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, atol=0.1, rtol=0.1)
    GAN_LOSSES["logistic"].discriminator(low[:2], low[2:]).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_learns_to_tell_noise_from_constants(kind):
    network = tiny(kind, 8)

    def logits() -> tuple[torch.Tensor, torch.Tensor]:
        return network(torch.randn(16, 3, 8, 8)), network(torch.randn(16, 3, 1, 1).expand(-1, -1, 8, 8))

    optimizer = torch.optim.Adam(network.parameters(), 0.01, betas=(0.0, 0.99))
    for _ in range(100):
        optimizer.zero_grad()
        GAN_LOSSES["logistic"].discriminator(*logits()).backward()
        optimizer.step()
    real, fake = logits()
    assert ((real > 0).sum() + (fake < 0).sum()).item() >= 28  # of 32


@pytest.mark.parametrize("size", [2, 6, 12, 224])
def test_sizes_stylegan_cannot_halve_are_a_user_error(size):
    with pytest.raises(UserError, match=f"{size}x{size}.*power of two"):
        StyleGANDiscriminator(3, size)


def test_other_misfits_are_user_errors():
    with pytest.raises(UserError, match="3x3"):
        ResidualDiscriminator(3, 3)
    for kind in KINDS:
        with pytest.raises(UserError, match=r"base 16 .* at 32x32"):
            kind(3, 32, base=16)
        with pytest.raises(UserError, match="built for 16x16 pixels and got images of 32x16"):
            tiny(kind)(torch.randn(2, 3, 32, 16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu(kind):
    network = tiny(kind, 16, group=4).cuda().to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 16, 16, device="cuda").to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cuda", torch.bfloat16):
        low = network(x)
    torch.testing.assert_close(low.float(), network(x), atol=0.1, rtol=0.1)
    gradient_penalty(network(x), x).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)
