import pytest
import torch
from torch import nn

from networks.gan.patch_discriminator import MultiScaleDiscriminator, PatchDiscriminator, feature_matching
from visionscapes.errors import UserError


def test_maps_of_every_scale():
    torch.manual_seed(0)
    maps = MultiScaleDiscriminator(5, base=4)(torch.randn(2, 5, 64, 48))
    # A convolution 4 x 4 padded by 2 makes n // 2 + 1 of n with stride 2, and n + 1 with stride 1.
    shapes = [[tuple(one.shape) for one in scale] for scale in maps]
    assert shapes == [
        [(2, 4, 33, 25), (2, 8, 17, 13), (2, 16, 9, 7), (2, 32, 10, 8), (2, 1, 11, 9)],
        [(2, 4, 17, 13), (2, 8, 9, 7), (2, 16, 5, 4), (2, 32, 6, 5), (2, 1, 7, 6)],
    ]


def test_channels_stop_at_512():
    with torch.device("meta"):
        network = PatchDiscriminator(22, base=64, layers=4)
    assert [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)] == [
        64, 128, 256, 512, 512, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field(layers, patch):
    torch.manual_seed(0)
    network = PatchDiscriminator(1, base=2, layers=layers)
    for block in network.blocks[1:-1]:
        block[1] = nn.Identity()  # the statistics of instance norm see the whole image
    image = torch.randn(1, 1, 160, 160, requires_grad=True)
    logits = network(image)[-1]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [patch, patch]


def test_second_scale_sees_the_mean_without_a_dark_border():
    torch.manual_seed(0)
    network = MultiScaleDiscriminator(1, base=2)
    seen = []
    network.scales[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = torch.randn(1, 1, 16, 16)
    network(image)
    assert seen[0].shape == (1, 1, 8, 8)
    assert torch.allclose(seen[0][0, 0, 3, 4], image[0, 0, 5:8, 7:10].mean())
    assert torch.allclose(seen[0][0, 0, 0, 0], image[0, 0, :2, :2].mean())


def test_scales_have_their_own_weights():
    network = MultiScaleDiscriminator(3, base=2, scales=3)
    assert len({id(weight) for weight in network.parameters()}) == len(list(network.scales[0].parameters())) * 3
    assert not torch.equal(network.scales[0].blocks[0][0].weight, network.scales[1].blocks[0][0].weight)


def test_spectral_norm_bounds_the_inner_convolutions():
    torch.manual_seed(0)
    network = MultiScaleDiscriminator(3, base=8, norm="spectral")
    for _ in range(30):  # power iterations
        network(torch.randn(1, 3, 32, 32))
    for block in network.scales[0].blocks[1:-1]:
        assert torch.linalg.matrix_norm(block[0].weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    plain = MultiScaleDiscriminator(3, base=8)
    assert torch.linalg.matrix_norm(plain.scales[0].blocks[2][0].weight.flatten(1), 2).item() < 0.9


@pytest.mark.parametrize("norm", ["instance", "spectral"])
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_weight_and_the_image(norm, autocast):
    torch.manual_seed(0)
    network = MultiScaleDiscriminator(3, base=4, norm=norm)
    image = torch.randn(2, 3, 32, 32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        maps = network(image)
    assert maps[0][-1].dtype == (torch.bfloat16 if autocast else torch.float32)
    torch.stack([scale[-1].float().square().mean() for scale in maps]).sum().backward()
    for tensor in (image, *network.parameters()):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_wrong_settings():
    with pytest.raises(UserError, match="'batch'"):
        MultiScaleDiscriminator(3, norm="batch")
    with pytest.raises(UserError, match="0 scales"):
        MultiScaleDiscriminator(3, scales=0)


def test_feature_matching_by_hand():
    real = [[torch.zeros(1, 2, 2, 2), torch.ones(1, 1, 1, 1), torch.zeros(1)], [torch.zeros(1, 2), torch.zeros(1)]]
    fake = [
        [torch.full((1, 2, 2, 2), 3.0), torch.full((1, 1, 1, 1), -1.0), torch.full((1,), 99.0)],
        [torch.tensor([[1.0, -3.0]]), torch.full((1,), 99.0)],
    ]
    # Layers of the first scale: means 3 and 2; of the second: 2. Logits do not count.
    assert feature_matching(real, fake).item() == pytest.approx((3 + 2 + 2) / 2)


def test_feature_matching_follows_the_generated_images_only():
    real, fake = (torch.randn(1, 3, requires_grad=True) for _ in range(2))
    logits = torch.zeros(1)
    feature_matching([[real, logits]], [[fake, logits]]).backward()
    assert real.grad is None
    assert torch.equal(fake.grad, (fake - real).sign() / 3)


def test_feature_matching_is_summed_in_float32():
    real = [[torch.zeros(1, 3, dtype=torch.bfloat16), torch.zeros(1)]]
    fake = [[torch.full((1, 3), 1.0, dtype=torch.bfloat16), torch.zeros(1)]]
    assert feature_matching(real, fake).dtype == torch.float32
