import math
from itertools import pairwise

import torch
from torch.nn import functional as F

from lightning_modules.lsr.generators import ImageGenerator, LandmarkUNet, ShotEncoder
from networks.gan.equalized import EqualizedLinear

RELEASED = {"base": 32, "most": 512}


def count(module):
    return sum(each.numel() for each in module.parameters())


def conv(inner, outer, kernel=3, bias=True):
    return inner * outer * kernel**2 + outer * bias


def test_encoders_of_the_released_size():
    """224, 112, 56, 28, 14, 7 and 3 pixels: 3 * 3 * 512 features at the end."""
    with torch.device("meta"):
        encoder = ShotEncoder(6, 224, **RELEASED, downs=6, latent=512)
        assert encoder(torch.empty(2, 6, 224, 224)).shape == (2, 512)
    widths = [32, 64, 128, 256, 512, 512, 512]
    expected = conv(6, 32, 7) + 4608 * 512 + 512
    for inner, outer in pairwise(widths):
        expected += conv(inner, min(inner, outer)) + conv(min(inner, outer), outer)
        expected += conv(inner, outer, 1, bias=False) * (inner != outer)
    assert count(encoder) == expected == 14_334_080


def test_the_layout_predictor_of_the_released_size():
    with torch.device("meta"):
        unet = LandmarkUNet(22, 512, **RELEASED, levels=5)
        shapes = []
        for down in unet.down:
            down.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:3])))
        assert unet(torch.empty(1, 3, 224, 224), torch.empty(1, 512)).shape == (1, 22, 224, 224)
    assert shapes == [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)]
    expected = conv(32, 22)
    for inner, outer in pairwise([3, 64, 128, 256, 512, 512]):
        expected += conv(inner, inner) + conv(inner, outer) + conv(inner, outer, 1, bias=False)
    for inner, outer in zip([512, 1024, 512, 256, 128], [512, 256, 128, 64, 32], strict=True):
        expected += conv(inner, outer) + conv(outer, outer) + conv(inner, outer, 1, bias=False)
        expected += 2 * (inner + outer) * (512 + 1)  # AdaIN, a scale and a shift for every channel
    assert count(unet) == expected


def test_the_image_generator_of_the_released_size():
    with torch.device("meta"):
        generator = ImageGenerator(19, 224, **RELEASED, levels=5, latent=512, hidden=64)
        assert generator(torch.empty(1, 19, 224, 224), torch.empty(1, 512)).shape == (1, 3, 224, 224)

    def spade(channels):
        return conv(19, 64) + conv(64, 2 * channels)

    expected = (512 + 1) * 7 * 7 * 512 + conv(32, 3)
    for inner, outer in pairwise([512, 512, 512, 256, 128, 64, 32]):
        middle = min(inner, outer)
        expected += spade(inner) + conv(inner, middle) + spade(middle) + conv(middle, outer)
        expected += (spade(inner) + conv(inner, outer, 1, bias=False)) * (inner != outer)
    assert count(generator) == expected


def norm(x):
    mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-3).sqrt()


def scaled(layer, x, gain=2.0):
    weight = layer.weight * math.sqrt(gain / layer.weight[0].numel())
    if isinstance(layer, EqualizedLinear):
        return F.linear(x, weight, layer.bias)
    return F.conv2d(x, weight, layer.bias, padding="same")


def lrelu(x):
    return F.leaky_relu(x, 0.2)


def bilinear(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def blurred(x):
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(row, row).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


def with_biases(module, seed=0):
    """Return a module whose biases are not zero."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.data = torch.randn(parameter.shape, generator=random)
    return module


def test_the_encoder_written_out():
    torch.manual_seed(0)
    encoder = with_biases(ShotEncoder(6, 28, base=4, most=8, downs=3, latent=5))
    shots = torch.randn(3, 6, 28, 28)
    x = scaled(encoder.first, shots).relu()
    for block, same in zip(encoder.blocks, (False, True, True), strict=True):
        x = F.avg_pool2d(x, 2)
        inner = scaled(block.second, scaled(block.first, x.relu()).relu())
        x = (x if same else scaled(block.shortcut, x)) + inner
    assert x.shape == (3, 8, 3, 3)
    assert torch.allclose(encoder(shots), scaled(encoder.code, x.relu().flatten(1)), atol=1e-5)


def test_the_layout_predictor_written_out():
    torch.manual_seed(0)
    unet = with_biases(LandmarkUNet(7, 6, base=4, most=8, levels=2))
    drawing, code = torch.randn(2, 3, 16, 16), torch.randn(2, 6)

    def adain(layer, x):
        gamma, beta = scaled(layer.style, code)[:, :, None, None].chunk(2, 1)
        return norm(x) * (1 + gamma) + beta

    features, x = [], drawing
    for block in unet.down:
        inner = scaled(block.second, lrelu(norm(scaled(block.first, lrelu(norm(x))))))
        x = blurred(scaled(block.shortcut, x)) + blurred(inner)
        features.append(x)
    for number, block in enumerate(unet.up):
        inner = scaled(block.first, bilinear(lrelu(adain(block.first_norm, x))))
        inner = scaled(block.second, lrelu(adain(block.second_norm, inner)))
        x = scaled(block.shortcut, bilinear(x)) + inner
        x = torch.cat([x, features[0]], 1) if number == 0 else x
    assert torch.allclose(unet(drawing, code), scaled(unet.head, x, gain=1), atol=1e-4)
    assert unet.down[0].first.weight.shape == (3, 3, 3, 3)


def test_the_image_generator_written_out():
    torch.manual_seed(0)
    generator = with_biases(ImageGenerator(5, 16, latent=6, base=4, most=8, levels=2, hidden=3))
    layout, code = torch.randn(2, 5, 16, 16).softmax(1), torch.randn(2, 6)

    def spade(layer, x):
        side = 16 // x.shape[-1]
        seen = F.avg_pool2d(layout, side) if side > 1 else layout
        gamma, beta = scaled(layer.modulation, scaled(layer.hidden, seen).relu()).chunk(2, 1)
        return norm(x) * (1 + gamma) + beta

    x = scaled(generator.first, code).view(2, 8, 4, 4)
    for number, block in enumerate(generator.blocks):
        x = bilinear(x) if number else x
        inner = scaled(block.first, lrelu(spade(block.first_norm, x)))
        inner = scaled(block.second, lrelu(spade(block.second_norm, inner)))
        x = inner + (scaled(block.shortcut, spade(block.shortcut_norm, x)) if block.learned_shortcut else x)
    assert torch.allclose(generator(layout, code), scaled(generator.head, lrelu(x), gain=1), atol=1e-4)


def test_spade_sees_the_soft_layout_averaged():
    """A layout that is one half here and one half there is so at every size; the nearest would be one of them."""
    torch.manual_seed(0)
    generator = ImageGenerator(2, 16, latent=6, base=4, most=8, levels=2, hidden=3)
    seen = []
    for block in generator.blocks:
        block.first_norm.hidden.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    columns = (torch.arange(16) % 2).float().expand(1, 1, 16, 16)
    generator(torch.cat([columns, 1 - columns], 1), torch.randn(1, 6))
    assert [tuple(each.shape[2:]) for each in seen] == [(4, 4), (8, 8), (16, 16)]
    assert all(torch.equal(each, torch.full_like(each, 0.5)) for each in seen[:2])


def test_nothing_depends_on_the_others_of_a_batch():
    """No norm over the batch, so that any number of shots and people can be given."""
    torch.manual_seed(0)
    encoder = ShotEncoder(6, 16, base=4, most=8, downs=3, latent=5)
    shots = torch.randn(4, 6, 16, 16)
    alone = torch.cat([encoder(shot[None]) for shot in shots])
    assert torch.allclose(encoder(shots), alone, atol=1e-5)
    kinds = {type(each).__name__ for each in encoder.modules()}
    assert not any("BatchNorm" in kind for kind in kinds)
