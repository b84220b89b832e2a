import pytest
import torch

from networks.gan.noise import NoiseInjection, draw_noise


def noisy(channels: int = 3) -> NoiseInjection:
    layer = NoiseInjection(channels)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(channels) + 1.0)
    return layer


def test_starts_without_noise_but_learns():
    layer, x = NoiseInjection(3), torch.randn(2, 3, 4, 4)
    out = layer(x)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert layer.weight.grad.all()


def test_given_noise_is_shared_by_channels_with_their_strengths():
    x, noise = torch.zeros(2, 3, 4, 5), torch.randn(2, 1, 4, 5)
    torch.testing.assert_close(noisy()(x, noise), torch.cat([noise, 2 * noise, 3 * noise], 1))


@pytest.mark.parametrize("training", [True, False])
def test_fresh_noise_is_standard_normal_and_differs_between_calls_samples_and_pixels(training):
    torch.manual_seed(0)
    layer, x = noisy().train(training), torch.zeros(8, 3, 32, 32)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert first[:, 2].std().item() == pytest.approx(3, rel=0.05)
    assert first[:, 0].mean().item() == pytest.approx(0, abs=0.05)
    torch.manual_seed(0)
    assert torch.equal(layer(x), first)


def test_drawn_noise_is_reproducible_and_fits():
    shapes = [(4, 4), (8, 6)]
    first = draw_noise(shapes, 3, torch.Generator().manual_seed(1))
    assert [tuple(noise.shape) for noise in first] == [(3, 1, 4, 4), (3, 1, 8, 6)]
    assert all(map(torch.equal, first, draw_noise(shapes, 3, torch.Generator().manual_seed(1))))
    assert not torch.equal(first[0], draw_noise(shapes, 3, torch.Generator().manual_seed(2))[0])
    before = torch.random.get_rng_state()
    draw_noise(shapes, 3, torch.Generator().manual_seed(1))
    assert torch.equal(torch.random.get_rng_state(), before)  # torch's own generator is left alone
    torch.manual_seed(5)
    own = draw_noise(shapes, 3)
    torch.manual_seed(5)
    assert all(map(torch.equal, own, draw_noise(shapes, 3)))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_type_and_format_of_the_input_are_kept(memory_format):
    x = torch.randn(2, 3, 4, 4).to(torch.bfloat16, memory_format=memory_format)
    for noise in (None, torch.randn(2, 1, 4, 4)):
        out = noisy()(x, noise)
        assert out.dtype == torch.bfloat16
        assert out.is_contiguous(memory_format=memory_format)


def test_bf16_noise_is_float32_noise_rounded():
    torch.manual_seed(0)
    low = noisy()(torch.zeros(2, 3, 4, 4, dtype=torch.bfloat16))
    torch.manual_seed(0)
    assert torch.equal(low[:, 0], noisy()(torch.zeros(2, 3, 4, 4))[:, 0].bfloat16())


def test_gradients():
    layer = noisy(2).double()
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: layer(x, noise), x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cpu_generator_gives_the_same_noise_on_a_gpu():
    here = draw_noise([(4, 4)], 2, torch.Generator().manual_seed(1))
    there = draw_noise([(4, 4)], 2, torch.Generator().manual_seed(1), "cuda")
    assert torch.equal(here[0], there[0].cpu())
