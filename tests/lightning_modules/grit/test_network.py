import pytest
import torch
from torch.nn import functional as F

from lightning_modules.grit.network import GRITGenerator, GRITGeneratorOptions, StyledConvolution, UpBlock
from networks.gan.conditions import one_hot
from networks.gan.noise import draw_noise
from tests.lightning_modules.grit.cases import CLASSES, SIZE, batch_of, with_noise
from visionscapes.errors import UserError

SMALL = {"style_dim": 8, "base": 4, "most": 8, "downs": 2}


def generator(image_size=SIZE, **changes):
    torch.manual_seed(0)
    return GRITGenerator(CLASSES, image_size, GRITGeneratorOptions(**SMALL | changes))


def inputs(count=2):
    batch = batch_of(count)
    return one_hot(batch["labels"], CLASSES), 2 * batch["image"] - 1


def translate(network, noise=None):
    condition, image = inputs()
    return network(condition, network.style(image, condition), noise)


def test_the_networks_of_the_thesis_have_its_shapes():
    with torch.device("meta"):
        network = GRITGenerator(19)
        condition, image = torch.zeros(1, 19, 256, 256), torch.zeros(1, 3, 256, 256)
        features = network.content_encoder(condition)
        assert [tuple(each.shape[1:]) for each in features] == [
            (64, 256, 256),
            (128, 128, 128),
            (256, 64, 64),
            (512, 32, 32),
            (512, 16, 16),
            (512, 8, 8),
            (512, 4, 4),
        ]
        style = network.style(image, condition)
        assert style.shape == (1, 512)
        made = network(condition, style)
    assert made.image.shape == (1, 3, 256, 256)
    assert len(network.up_blocks) == 6
    assert network.head.out_channels == 6
    assert network.noise_shapes() == [(side, side) for side in (8, 16, 32, 64, 128, 256) for _ in range(2)]


def test_the_image_is_the_sum_of_its_parts():
    made = translate(generator())
    assert list(made.parts) == ["reconstruction", "residual"]
    assert torch.equal(made.image, made.parts["reconstruction"] + made.parts["residual"])
    assert made.parts["residual"].abs().mean() > 0


def test_no_layer_has_more_feature_maps_than_allowed():
    network = generator(base=8, most=4)
    assert max(each.out_channels for each in network.modules() if isinstance(each, torch.nn.Conv2d)) <= max(4, 6)
    assert translate(network).image.shape == (2, 3, SIZE, SIZE)


def test_without_a_residual_there_is_one_image():
    network = generator(residual=False)
    made = translate(network)
    assert made.parts == {}
    assert network.head.out_channels == 3


def test_a_reconstruction_loss_gives_the_residual_channels_no_gradient():
    """5.2.2: exactly none, not a small one."""
    network = generator()
    made = translate(network)
    F.l1_loss(made.parts["reconstruction"], torch.zeros(2, 3, SIZE, SIZE)).backward()
    assert network.head.weight.grad[3:].abs().max() == 0
    assert network.head.bias.grad[3:].abs().max() == 0
    assert network.head.weight.grad[:3].abs().min() > 0


def test_what_sees_the_sum_gives_both_components_the_same_gradient():
    """No gradient is stopped: the adversarial loss moves the reconstruction too."""
    network = generator()
    translate(network).image.square().mean().backward()
    assert torch.equal(network.head.weight.grad[:3], network.head.weight.grad[3:])
    assert network.head.weight.grad.abs().min() > 0


def test_noise_begins_without_effect_and_then_varies_the_image():
    network = generator()
    assert torch.equal(translate(network).image, translate(network).image)
    with_noise(network)
    assert not torch.equal(translate(network).image, translate(network).image)
    noise = draw_noise(network.noise_shapes(), 2, torch.Generator().manual_seed(3))
    assert torch.equal(translate(network, noise).image, translate(network, noise).image)


def test_fixed_noise_reaches_every_layer():
    network = with_noise(generator())
    noise = draw_noise(network.noise_shapes(), 2, torch.Generator().manual_seed(3))
    before = translate(network, noise).image
    for place in range(len(noise)):
        changed = [each + (number == place) * torch.randn_like(each) for number, each in enumerate(noise)]
        assert not torch.allclose(translate(network, changed).image, before)


def test_a_generator_without_noise_has_no_strengths():
    names = [name for name, _ in generator(noise=False).named_parameters()]
    assert not any("noise" in name for name in names)
    assert sum("noise" in name for name, _ in generator().named_parameters()) == 2 * 2


def test_a_styled_convolution_written_out():
    torch.manual_seed(1)
    layer = with_noise(StyledConvolution(3, 5, 8, noise=True))
    torch.nn.init.normal_(layer.bias)
    x, style, noise = torch.randn(2, 3, 6, 6), torch.randn(2, 8), torch.randn(2, 1, 6, 6)
    scale = (2 / (3 * 9)) ** 0.5  # He's, at run time
    maps = F.conv2d(x, layer.convolution.weight * scale, padding=1)
    maps = maps + layer.noise.weight.view(1, -1, 1, 1) * noise + layer.bias.view(1, -1, 1, 1)
    maps = torch.where(maps > 0, maps, 0.2 * maps)
    mean, variance = maps.mean((2, 3), keepdim=True), maps.var((2, 3), keepdim=True, unbiased=False)
    gamma, beta = layer.adain.style(style)[..., None, None].chunk(2, 1)
    expected = (maps - mean) / (variance + 1e-5).sqrt() * (1 + gamma) + beta
    assert torch.allclose(layer(x, style, noise), expected, atol=1e-5)


def test_an_up_block_doubles_then_joins_the_skip():
    torch.manual_seed(1)
    block = UpBlock(3, 2, 4, 8, noise=False)
    x, skip, style = torch.randn(2, 3, 4, 4), torch.randn(2, 2, 8, 8), torch.randn(2, 8)
    joined = torch.cat([F.interpolate(x, size=(8, 8), mode="bilinear", align_corners=False), skip], 1)
    expected = block.second(block.first(joined, style, None), style, None)
    assert torch.equal(block(x, skip, style, [None, None]), expected)


@pytest.mark.parametrize("place", range(2))
def test_every_skip_is_used(place):
    network = generator()
    condition, image = inputs()
    style = network.style(image, condition)
    features = network.content_encoder(condition)
    hooked = network.content_encoder.blocks[0] if place else network.content_encoder.first
    grown = []
    hooked.register_forward_hook(lambda _, __, output: grown.append(output.retain_grad() or output))
    network(condition, style).image.square().mean().backward()
    assert grown[0].grad.abs().max() > 0
    assert features[place].shape == grown[0].shape


def test_without_the_full_resolution_skip_the_last_block_has_only_what_comes_from_below():
    last = generator(full_resolution_skip=False).up_blocks[-1].first.convolution
    with_skip = generator().up_blocks[-1].first.convolution
    assert with_skip.in_channels - last.in_channels == SMALL["base"]
    translate(generator(full_resolution_skip=False))


def test_style_decides_and_condition_decides():
    network = generator()
    condition, image = inputs()
    style = network.style(image, condition)
    made = network(condition, style).image
    assert not torch.allclose(network(condition, style.flip(0)).image, made)
    assert not torch.allclose(network(condition.flip(0), style).image, made)


def test_the_style_encoder_can_see_the_condition():
    condition, image = inputs()
    blind, seeing = generator(), generator(style_condition=True)
    assert torch.equal(blind.style(image, condition), blind.style(image, condition.flip(0)))
    assert not torch.allclose(seeing.style(image, condition), seeing.style(image, condition.flip(0)))


def test_content_through_a_code():
    """The appendix' reading: the bottleneck is made of ``style_dim`` numbers."""
    network = generator(content_fc=True)
    assert translate(network).image.shape == (2, 3, SIZE, SIZE)
    assert network.content_fc[2].out_features == SMALL["style_dim"]


def test_the_fusing_network_is_not_a_sum():
    network = generator(composition="cnn")
    made = translate(network)
    assert made.image.shape == (2, 3, SIZE, SIZE)
    assert not torch.allclose(made.image, made.parts["reconstruction"] + made.parts["residual"])


@pytest.mark.parametrize(("size", "downs"), [(4, 2), (18, 2), (64, 6)])
def test_sizes_that_cannot_be_halved(size, downs):
    with pytest.raises(UserError, match=f"cannot be halved {downs} times"):
        generator(image_size=size, downs=downs)


def test_bfloat16_and_channels_last():
    network = generator().to(memory_format=torch.channels_last)
    condition, image = (each.to(memory_format=torch.channels_last) for each in inputs())
    exact = network(condition, network.style(image, condition)).image
    with torch.autocast("cpu", torch.bfloat16):
        made = network(condition, network.style(image, condition))
    assert made.image.dtype == torch.float32
    assert (made.image - exact).abs().mean() < 0.1 * exact.abs().mean()


@pytest.mark.parametrize("place", [0, 1])
def test_a_block_takes_its_noise_maps_in_the_order_of_its_convolutions(place):
    torch.manual_seed(0)
    block = UpBlock(4, 0, 4, style_dim=3, noise=True)
    for layer, weight in ((block.first, place == 0), (block.second, place == 1)):
        for parameter in layer.noise.parameters():
            torch.nn.init.constant_(parameter, float(weight))
    x, style, plain = torch.randn(1, 4, 4, 4), torch.randn(1, 3), [torch.zeros(1, 1, 8, 8)] * 2
    heard = [[*plain[:k], torch.randn(1, 1, 8, 8), *plain[k + 1 :]] for k in range(2)]
    silent = block(x, None, style, plain)
    changed = [not torch.allclose(block(x, None, style, maps), silent) for maps in heard]
    assert changed == [place == 0, place == 1], "only the map of the convolution that listens makes a difference"
