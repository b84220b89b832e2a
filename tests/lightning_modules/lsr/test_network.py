import pytest
import torch
from torch.nn import functional as F

from lightning_modules.lsr.network import (
    HeadNetwork,
    HeadNetworkOptions,
    Latents,
    LayoutNetwork,
    seen_as,
)
from networks.gan.conditions import one_hot
from tests.lightning_modules.lsr.cases import CLASSES, NETWORK, SIZE, batch_of, gradients_of
from visionscapes.errors import UserError

SPATIAL = ("layout", "segmentation", "oracle", "landmarks", "none")


def network(spatial="layout", size=SIZE, **changes):
    torch.manual_seed(0)
    return HeadNetwork(CLASSES, size, spatial=spatial, options=HeadNetworkOptions(**NETWORK | changes))


def made(net, batch=None):
    batch = batch or batch_of()
    return net(batch["shots"], batch["shot_drawings"], batch["drawing"], batch["labels"])


@pytest.mark.parametrize("size", [64, 128, 224, 256])
def test_sizes(size):
    with torch.device("meta"):
        net = HeadNetwork(19, size)
        shots = torch.empty(2, 3, 3, size, size)
        head = net(shots, shots, torch.empty(2, 3, size, size))
    assert head.image.shape == (2, 3, size, size)
    assert head.predicted.logits.shape == head.layout.shape == (2, 19, size, size)
    assert head.predicted.rgb.shape == (2, 3, size, size)
    assert net.style.code.in_features == 512 * (size // 64) ** 2


@pytest.mark.parametrize("size", [32, 48, 100])
def test_sizes_that_cannot_be_halved_as_often(size):
    with pytest.raises(UserError, match=r"multiple of 32 from 64 on.*--model\.network\.levels"):
        HeadNetwork(19, size)
    with pytest.raises(UserError, match="cannot be halved 5 times"):
        LayoutNetwork(19, size)
    if size % 16 == 0:
        HeadNetwork(19, size, options=HeadNetworkOptions(**NETWORK | {"levels": 4}))


@pytest.mark.parametrize("spatial", SPATIAL)
def test_what_each_row_of_table_6_2_is_made_of(spatial):
    net, batch = network(spatial), batch_of()
    parts = {name.split(".")[0] for name, _ in net.named_parameters()}
    assert parts == {"style", "image"} | ({"layout"} if spatial in ("layout", "segmentation") else set())
    head = made(net, batch)
    assert head.image.shape == (2, 3, SIZE, SIZE)
    assert (head.predicted is None) == (spatial not in ("layout", "segmentation"))
    if spatial in ("landmarks", "none"):
        assert head.layout is None
    if spatial == "oracle":
        assert torch.equal(head.layout, one_hot(batch["labels"], CLASSES))
        with pytest.raises(UserError, match="label maps of the targets"):
            net(batch["shots"], batch["shot_drawings"], batch["drawing"])


@pytest.mark.parametrize("spatial", ["layout", "none"])
def test_feature_maps_at_most_may_be_less_than_at_full_resolution(spatial):
    net = network(spatial, base=8, most=4)
    assert made(net).image.shape == (2, 3, SIZE, SIZE)
    assert net.style.first.out_channels == 4


def test_equation_6_3_from_its_parts():
    net, batch = network(), batch_of()
    signed = {name: 2 * batch[name] - 1 for name in ("shots", "shot_drawings", "drawing")}
    codes = []
    for encoder in (net.layout.encoder, net.style):
        singles = [encoder(torch.cat([signed["shots"][:, k], signed["shot_drawings"][:, k]], 1)) for k in range(2)]
        codes.append((singles[0] + singles[1]) / 2)
    logits = net.layout.predictor(signed["drawing"], codes[0])[:, :CLASSES]
    image = net.image(torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True), codes[1])
    assert torch.allclose(made(net, batch).image, image, atol=1e-5)


@pytest.mark.parametrize("shots", [1, 3, 7])
def test_codes_are_the_mean_over_any_number_of_shots(shots):
    net, batch = network(), batch_of(shots=shots)
    together = net.encode(batch["shots"], batch["shot_drawings"])
    for place in range(2):
        alone = [net.encode(batch["shots"][:, k : k + 1], batch["shot_drawings"][:, k : k + 1]) for k in range(shots)]
        assert torch.allclose(together[place], torch.stack([each[place] for each in alone]).mean(0), atol=1e-5)
        assert together[place].shape == (2, 8)
    order = torch.randperm(shots, generator=torch.Generator().manual_seed(0))
    turned = net.encode(batch["shots"][:, order], batch["shot_drawings"][:, order])
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(together, turned, strict=True))


def test_encoders_may_see_shots_alone():
    net, batch = network(shot_landmarks=False), batch_of()
    other = torch.zeros_like(batch["shot_drawings"])
    ours, same = net.encode(batch["shots"], batch["shot_drawings"]), net.encode(batch["shots"], other)
    assert all(torch.equal(one, two) for one, two in zip(ours, same, strict=True))
    with_landmarks = network()
    ours, differs = (with_landmarks.encode(batch["shots"], each) for each in (batch["shot_drawings"], other))
    assert not torch.equal(ours.style, differs.style)


def test_the_gradient_passes_through_the_softmax():
    """Recomputed by hand: of p = softmax(y), dL/dy = p * (dL/dp - sum of p * dL/dp)."""
    net, batch = network(), batch_of()
    latents = net.encode(batch["shots"], batch["shot_drawings"])
    logits = net.predict(batch["drawing"], latents).logits.detach().requires_grad_()
    layout = seen_as(logits, "softmax")
    loss = (net.image(layout, latents.style) - batch["image"]).abs().mean()
    of_layout, of_logits = torch.autograd.grad(loss, (layout, logits))
    expected = layout * (of_layout - (layout * of_layout).sum(1, keepdim=True))
    assert torch.allclose(of_logits, expected, atol=1e-8, rtol=1e-4)
    assert of_logits.abs().max() > 0


def test_the_losses_of_the_image_teach_the_layout_and_its_encoder():
    net = network()
    found = gradients_of(made(net).image.abs().mean(), net)
    parts = {".".join(name.split(".")[:2]) for name, gradient in found.items() if gradient.abs().max() > 0}
    assert {"layout.encoder", "layout.predictor", "image.first", "style.code"} <= parts


def test_the_losses_of_the_image_do_not_reach_a_segmentation():
    net = network("segmentation")
    head = made(net)
    assert not any(name.startswith("layout.") for name in gradients_of(head.image.abs().mean(), net))
    assert any(name.startswith("layout.") for name in gradients_of(head.predicted.logits.square().mean(), net))


def test_straight_through_is_one_hot_with_the_gradient_of_the_softmax():
    logits = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    hard, soft = seen_as(logits, "straight_through"), seen_as(logits, "softmax")
    assert torch.equal(hard, F.one_hot(logits.argmax(1), 5).movedim(-1, 1).float())
    ours, theirs = (torch.autograd.grad((weight * each).sum(), logits)[0] for each in (hard, soft))
    assert torch.equal(ours, theirs)
    assert ours.abs().max() > 0


def test_the_softmax_is_taken_in_float32_whatever_the_precision():
    net, batch = network(), batch_of()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        head = made(net, batch)
    assert head.layout.dtype == head.image.dtype == head.predicted.logits.dtype == torch.float32
    assert torch.allclose(head.layout.sum(1), torch.ones(2, SIZE, SIZE), atol=1e-6)
    assert torch.equal(head.layout, head.predicted.logits.softmax(1))


def test_latents_of_one_person_for_many_images():
    latents = Latents(None, torch.randn(1, 8)).of(5)
    assert latents.layout is None
    assert latents.style.shape == (5, 8)
