import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.lift_block import LiFTBlock, Lifted
from networks.vit_features import ViTFeatures
from tests.helpers.tiny_vit import TINY_64
from visionscapes.errors import UserError


class OfficialDoubleConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.double_conv(x)


class OfficialUp(nn.Module):
    def __init__(self, inputs, skip, outputs):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs // 2, 2, stride=2)
        self.conv_1 = OfficialDoubleConv(inputs // 2 + skip, outputs)

    def forward(self, coarse, fine):
        return self.conv_1(torch.cat([self.up(coarse), fine], dim=1))


class OfficialLiFT(nn.Module):
    """The authors' network after its description, with the parameter names of their files."""

    def __init__(self, dim, patch):
        super().__init__()
        self.image_convs_1 = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.image_convs_2 = nn.Sequential(nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.scale_adapter = {16: nn.MaxPool2d(2, 2), 8: nn.Identity()}[patch]
        self.up1 = OfficialUp(dim + 32, 32, dim // 2)
        self.outc = nn.Conv2d(dim // 2, dim, 1)

    def forward(self, image, features):
        fine = self.scale_adapter(self.image_convs_1(image))
        return self.outc(self.up1(torch.cat([features, self.image_convs_2(fine)], dim=1), fine))

    def recursively(self, image, features, times):
        for n in range(times):
            if n:
                image = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
            features = self(image, features)
        return features


def official(dim, patch, seed=0) -> OfficialLiFT:
    """Random weights and running statistics."""
    torch.manual_seed(seed)
    net = OfficialLiFT(dim, patch)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval()


def block(dim=16, patch=16, seed=0, **options) -> LiFTBlock:
    torch.manual_seed(seed)
    return LiFTBlock(dim, patch, **options).eval()


def inputs(dim, patch, height, width, stride=None, batch=2, seed=0):
    """Features and a normalised image that belong together."""
    torch.manual_seed(seed)
    h, w = ((side - patch) // (stride or patch) + 1 for side in (height, width))
    return torch.randn(batch, dim, h, w), torch.randn(batch, 3, height, width)


@pytest.mark.parametrize(("dim", "count"), [(384, 1_187_280), (768, 4_417_296)])
@pytest.mark.parametrize("patch", [8, 16])
def test_parameter_counts(dim, patch, count):
    assert sum(parameter.numel() for parameter in LiFTBlock(dim, patch).parameters()) == count
    assert len(official(dim, patch).state_dict()) == 37


def test_the_larger_block_has_the_parameters_of_the_thesis():
    """7 million, 6.3 % of the 111 million of its ViTDet (8.7.2)."""
    count = sum(parameter.numel() for parameter in LiFTBlock(768, 16, stem=200, stem_blocks=1).parameters())
    assert round(count / 1e6, 1) == 7.0
    assert round(100 * count / 111e6, 1) == 6.3


@pytest.mark.parametrize("patch", [8, 16])
@pytest.mark.parametrize("use_image", [True, False])
def test_wider_and_deeper_stems(patch, use_image):
    net = block(8, patch, use_image=use_image, stem=12, stem_blocks=2)
    features, image = inputs(8, patch, 3 * patch, 5 * patch)
    assert net(features, image).shape == (2, 8, 6, 10)
    net.train()(features, image).square().sum().backward()
    # Two strided convolutions, two further ones, and one to the coarse grid.
    assert len([name for name, _ in net.named_parameters() if name.startswith(("stem", "coarse"))]) == use_image * 18
    idle = {name for name, each in net.named_parameters() if each.grad is None}
    assert idle == set()
    assert len(net.effective_parameters()) == len(list(net.parameters())) - 3 * use_image


@pytest.mark.parametrize("patch", [8, 16])
@pytest.mark.parametrize("dim", [384, 768])
@pytest.mark.parametrize("training", [False, True])
def test_official_weights_give_the_official_output(patch, dim, training):
    theirs, ours = official(dim, patch).train(training), LiFTBlock(dim, patch).train(training)
    ours.load_official(theirs.state_dict())
    features, image = inputs(dim, patch, 4 * patch, 3 * patch)
    with torch.no_grad():
        torch.testing.assert_close(ours(features, image), theirs(image, features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patch", [8, 16])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_repetition_is_the_official_recursion(patch, times):
    theirs, ours = official(16, patch), block(16, patch)
    ours.load_official(theirs.state_dict())
    features, image = inputs(16, patch, 2 * patch, 4 * patch)
    with torch.no_grad():
        expected = theirs.recursively(image, features, times)
        torch.testing.assert_close(ours.repeat(features, image, times), expected, atol=1e-5, rtol=1e-4)
    assert expected.shape == (2, 16, 2 * 2**times, 4 * 2**times)


def test_official_weights_of_data_parallel_training():
    theirs, ours = official(16, 8), block(16, 8)
    ours.load_official({f"module.{key}": value for key, value in theirs.state_dict().items()})
    assert torch.equal(ours.out.weight, theirs.outc.weight)


def test_own_state_dict_loads_too():
    trained, other = block(seed=1), block()
    other.load_official(trained.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), trained.parameters(), strict=True))


@pytest.mark.parametrize("change", [lambda s: s.pop("outc.bias"), lambda s: s.update(extra=torch.zeros(1))])
def test_official_weights_that_do_not_fit_are_a_user_error(change):
    state = official(16, 8).state_dict()
    change(state)
    with pytest.raises(UserError, match=r"does not fit LiFTBlock.* for 16 channels"):
        block(16, 8).load_official(state)
    with pytest.raises(UserError, match=r"does not fit LiFTBlock.* for 32 channels"):
        block(32, 8).load_official(official(16, 8).state_dict())


@pytest.mark.parametrize("size", [(56, 56), (120, 230), (225, 225), (224, 98), (64, 64), (33, 47)])
@pytest.mark.parametrize(("patch", "stride"), [(16, None), (14, None), (8, None), (32, None), (16, 8), (14, 7), (8, 5)])
def test_every_size_patch_and_stride(size, patch, stride):
    net = block(8, patch, stride=stride)
    features, image = inputs(8, patch, *size, stride=stride, batch=1)
    with torch.no_grad():
        out = net(features, image)
        assert out.shape == (1, 8, 2 * features.shape[2], 2 * features.shape[3])
        assert net.repeat(features, image, 2).shape[2:] == (4 * features.shape[2], 4 * features.shape[3])
        assert (net(features, image + torch.randn_like(image)) - out).abs().max() > 0  # the image is used
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(("patch", "size"), [(16, (56, 56)), (16, (120, 230)), (8, (61, 90))])
def test_border_that_the_vit_does_not_see_is_left_out(patch, size):
    net = block(8, patch)
    features, image = inputs(8, patch, *size)
    seen = image[..., : size[0] // patch * patch, : size[1] // patch * patch]
    assert torch.equal(net(features, image), net(features, seen))


@pytest.mark.parametrize(("patch", "stride"), [(16, 16), (8, 8), (14, 14), (32, 32), (16, 8), (8, 4)])
def test_shifting_by_whole_cells_shifts_the_output(patch, stride):
    """Image and features stay registered: away from the border the output moves along by two cells per cell."""
    net, cells, shift = block(8, patch, stride=stride), 20, 3
    torch.manual_seed(1)
    extent = patch + (cells + shift - 1) * stride
    features, image = torch.randn(1, 8, cells + shift, cells + shift), torch.randn(1, 3, extent, extent)
    short = patch + (cells - 1) * stride
    with torch.no_grad():
        first = net(features[..., :cells, :cells], image[..., :short, :short])
        second = net(features[..., shift:, shift:], image[..., shift * stride :, shift * stride :])
    margin = 12  # the border reaches 4 fine cells into both outputs
    moved = second[..., margin - 2 * shift : -margin - 2 * shift, margin - 2 * shift : -margin - 2 * shift]
    torch.testing.assert_close(first[..., margin:-margin, margin:-margin], moved, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("patch", "stride"), [(16, 16), (8, 8), (14, 14), (32, 32), (16, 8), (8, 4), (14, 6)])
def test_stems_see_every_cell_at_the_centre_of_its_patch(patch, stride):
    """Of an image whose values are its own x coordinates, the mean over cell j is the centre of patch j."""
    net, seen = block(8, patch, stride=stride), []
    net.stem.register_forward_hook(lambda module, arguments, output: seen.append(arguments[0]))
    features, image = inputs(8, patch, 2 * patch, patch + 9 * stride, stride=stride)
    net(features, (torch.arange(image.shape[-1]) + 0.5).expand_as(image))
    per_cell = F.avg_pool2d(seen[0], net.cell)
    assert per_cell.shape[-2:] == features.shape[-2:]
    centres = torch.arange(10) * stride + patch / 2
    torch.testing.assert_close(per_cell[0, 0, 0, 1:-1], centres[1:-1])  # enlarging bends the ramp at the border


def test_without_image():
    net = block(16, 16, use_image=False)
    names = {name.partition(".")[0] for name, _ in net.named_parameters()}
    assert names == {"up", "fuse", "out"}
    features, image = inputs(16, 16, 64, 48)
    assert torch.equal(net(features, image), net(features, torch.randn_like(image)))
    assert net(features, image).shape == (2, 16, 8, 6)
    with_image = block(16, 16)
    with_image.load_state_dict(net.state_dict(), strict=False)
    for stem in (with_image.stem, with_image.coarse):  # make the skips zero: the same network
        nn.init.zeros_(stem[-2].weight)
        nn.init.zeros_(stem[-2].bias)
    torch.testing.assert_close(net(features, image), with_image(features, image))


def test_features_of_another_image_are_refused():
    features, _ = inputs(16, 16, 64, 64)
    with pytest.raises(ValueError, match="4x4 cells do not belong to an image of 48x64"):
        block()(features, torch.randn(2, 3, 48, 64))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_lifted_takes_any_image(name):
    backbone = ViTFeatures(name, weights=None, model_args=TINY_64)
    net = block(64, backbone.patch_size)
    image = torch.rand(1, 3, 61, 83)
    h, w = backbone.grid(61, 83)
    for times in (1, 2):
        lifted = Lifted(backbone, net, times)(image)
        assert lifted.shape == (1, 64, h * 2**times, w * 2**times)
    torch.testing.assert_close(Lifted(backbone, net)(image), net(backbone(image), backbone.normalise(image)))
