import pytest
import torch
from torch import nn

from lightning_modules.grit.baselines.pix2pixhd_network import (
    EncoderDecoder,
    LabelStyleEncoder,
    Pix2PixHDGenerator,
    Pix2PixHDGeneratorOptions,
    ReflectionResidualBlock,
    region_means,
    regions,
)
from networks.gan.conditions import one_hot
from visionscapes.errors import UserError

CLASSES = 4


def batch(seed=0, size=16, classes=CLASSES, number=2):
    """Images, label maps without the last label, and their one-hot condition."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.rand(number, 3, size, size, generator=generator) * 2 - 1
    labels = torch.randint(classes - 1, (number, size, size), generator=generator, dtype=torch.uint8)
    return pictures, labels, one_hot(labels, classes)


def small(**changes):
    torch.manual_seed(0)
    options = Pix2PixHDGeneratorOptions(**({"base": 4, "downs": 2, "blocks": 2} | changes))
    return Pix2PixHDGenerator(CLASSES, options, style_base=4)


def test_layers_are_those_of_the_paper():
    with torch.device("meta"):
        network = EncoderDecoder(19 + 3, 3, base=64, downs=4, blocks=9)
    outer = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert [(layer.out_channels, layer.kernel_size[0], layer.stride[0]) for layer in outer] == [
        (64, 7, 1), (128, 3, 2), (256, 3, 2), (512, 3, 2), (1024, 3, 2),
        (512, 3, 2), (256, 3, 2), (128, 3, 2), (64, 3, 2), (3, 7, 1),
    ]  # fmt: skip
    blocks = [layer for layer in network if isinstance(layer, ReflectionResidualBlock)]
    assert len(blocks) == 9
    assert [layer.out_channels for layer in blocks[0].modules() if isinstance(layer, nn.Conv2d)] == [1024, 1024]
    # Weights by hand: first and last, down and up, residual; one bias of three numbers.
    downs = sum(9 * inner * 2 * inner for inner in (64, 128, 256, 512))
    expected = 49 * 64 * (22 + 3) + 3 + 2 * downs + 9 * 2 * 9 * 1024**2
    assert sum(weight.numel() for weight in network.parameters()) == expected


def test_encoder_has_the_published_default_size():
    encoder = Pix2PixHDGenerator(3, Pix2PixHDGeneratorOptions(base=1, blocks=0)).encoder.network
    assert encoder[0].out_channels == 16
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in encoder) == 4
    assert encoder[-2].out_channels == 3
    assert not any(isinstance(layer, ReflectionResidualBlock) for layer in encoder)


def test_residual_block_without_weights_is_the_identity():
    block = ReflectionResidualBlock(2)
    for weight in block.parameters():
        nn.init.zeros_(weight)
    maps = torch.randn(1, 2, 4, 4)
    assert torch.equal(block(maps), maps)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24)])
def test_shape_and_range(height, width):
    image = small()(torch.rand(2, CLASSES, height, width), torch.rand(2, 3, height, width) * 2 - 1)
    assert image.shape == (2, 3, height, width)
    assert image.abs().max() < 1


@pytest.mark.parametrize("size", [18, 4])
def test_sizes_that_do_not_halve(size):
    with pytest.raises(UserError, match=f"{size} x {size} px .* multiple of 4 from 8 px"):
        small()(torch.rand(1, CLASSES, size, size), torch.rand(1, 3, size, size))


def means_by_loop(features, labels, classes=CLASSES):
    means = torch.empty(len(features), classes, features.shape[1])
    for image in range(len(features)):
        for label in range(classes):
            inside = labels[image] == label
            pixels = features[image][:, inside] if inside.any() else features[image].flatten(1)
            means[image, label] = pixels.mean(1)
    return means


def test_region_means_equal_a_loop():
    features = torch.randn(3, 2, 5, 7)
    labels = torch.randint(3, (3, 5, 7), dtype=torch.uint8)
    labels[1] = 2
    assert torch.allclose(region_means(features, one_hot(labels, CLASSES)), means_by_loop(features, labels), atol=1e-6)


def test_regions():
    labels = torch.randint(CLASSES, (2, 5, 7))
    parts = regions(one_hot(labels, CLASSES))
    assert torch.equal(parts[:, :-1], one_hot(labels, CLASSES))
    assert not parts[:, -1].any()
    edges = torch.rand(2, 1, 5, 7)
    assert torch.allclose(regions(edges), torch.cat([edges, 1 - edges], 1))
    grey = regions(edges.expand(-1, 3, -1, -1))
    assert torch.allclose(grey.sum(1), torch.ones(2, 5, 7))
    assert torch.equal(grey[:, -1] == 0, edges[:, 0] == 1)


def test_styles_equal_pooling_in_place_as_in_the_paper():
    torch.manual_seed(0)
    encoder = LabelStyleEncoder(3, base=4, downs=2)
    pictures, labels, condition = batch()
    features, styles = encoder.network(pictures), encoder(pictures, condition)
    for image in range(2):
        for label in labels[image].unique():
            inside = labels[image] == label
            mean = features[image][:, inside].mean(1, keepdim=True)
            assert torch.allclose(styles[image][:, inside], mean.expand(-1, int(inside.sum())), atol=1e-6)
    assert torch.equal(encoder(pictures, condition, labels), styles)


def test_styles_go_where_the_condition_has_their_label():
    torch.manual_seed(0)
    encoder = LabelStyleEncoder(3, base=4, downs=2)
    pictures, labels, _ = batch()
    features = encoder.network(pictures)
    target = torch.zeros(2, 16, 16, dtype=torch.uint8)
    target[:, :, 8:] = 3  # a label that the style images lack
    styles = encoder(pictures, one_hot(target, CLASSES), labels)
    means = means_by_loop(features, labels)
    assert torch.allclose(styles[:, :, :, :8], means[:, 0, :, None, None].expand(-1, -1, 16, 8), atol=1e-6)
    whole = features.mean((2, 3), keepdim=True)
    assert torch.allclose(styles[:, :, :, 8:], whole.expand(-1, -1, 16, 8), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_edges_have_a_style_on_them_and_one_beside_them(channels):
    torch.manual_seed(0)
    encoder = LabelStyleEncoder(5, base=4, downs=2)
    pictures, drawn = batch()[0], torch.rand(2, 16, 16) > 0.8
    styles = encoder(pictures, drawn[:, None].float().expand(-1, channels, -1, -1))
    means = means_by_loop(encoder.network(pictures), drawn, classes=2)
    for image in range(2):
        expected = torch.where(drawn[image], means[image, 1, :, None, None], means[image, 0, :, None, None])
        assert torch.allclose(styles[image], expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, CLASSES])
def test_another_style_makes_another_image(channels):
    torch.manual_seed(0)
    network = Pix2PixHDGenerator(channels, Pix2PixHDGeneratorOptions(base=4, downs=2, blocks=2), style_base=4)
    pictures, labels, condition = batch()
    if channels == 1:
        condition = (labels[:, None] == 0).float()
    # The instance norm behind the first convolution takes a constant away: it must not take the style.
    made = network(condition[:1].expand(2, -1, -1, -1), pictures)
    assert (made[0] - made[1]).std() > 0.1 * made[0].std()


def test_images_follow_their_own_style_image():
    network = small()
    pictures, labels, condition = batch()
    swapped = network(condition, pictures.flip(0), labels.flip(0))
    assert torch.allclose(swapped[:1], network(condition[:1], pictures[1:], labels[1:]), atol=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_weight(labelled, autocast):
    network = small()
    pictures, labels, condition = batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        image = network(condition, pictures, labels.flip(0) if labelled else None)
    (image.float() - pictures).abs().mean().backward()
    for name, weight in network.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 1e-6, name


def test_means_are_exact_under_autocast():
    encoder = LabelStyleEncoder()
    encoder.network = nn.Identity()
    pictures = batch(size=32)[0]
    labels = torch.zeros(2, 32, 32, dtype=torch.uint8)
    labels[:, 0] = 1
    with torch.autocast("cpu", torch.bfloat16):
        styles = encoder(pictures, one_hot(labels, CLASSES))
    assert styles.dtype == torch.float32
    assert torch.allclose(styles[:, :, 5, 5], pictures[:, :, 1:].mean((2, 3)), atol=1e-6)
