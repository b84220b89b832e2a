from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from networks.sync_network import SyncNetwork
from visionscapes.errors import UserError

SMALL = {"image_size": 24, "width": 4}


def faces(count, size=24, seed=0):
    return torch.rand(count, 5, 3, size, size, generator=torch.Generator().manual_seed(seed))


def mel(count, seed=1):
    return torch.randn(count, 80, 16, generator=torch.Generator().manual_seed(seed)).clamp(-4, 4)


def test_the_default_is_the_architecture_of_wav2lip():
    """Shapes of its layers in their order, as its paper's code has them; 16.4 million parameters."""
    network = SyncNetwork()
    face = [tuple(layer.conv.weight.shape) for layer in network.faces]
    widths = [(32, 15, 7, 7), (64, 32, 5, 5), *[(64, 64, 3, 3)] * 2, (128, 64, 3, 3), *[(128, 128, 3, 3)] * 3]
    widths += [(256, 128, 3, 3), *[(256, 256, 3, 3)] * 2, (512, 256, 3, 3), *[(512, 512, 3, 3)] * 4, (512, 512, 1, 1)]
    assert face == widths
    sound = [tuple(layer.conv.weight.shape[:2]) for layer in network.sound]
    assert [outputs for outputs, _ in sound] == [32] * 3 + [64] * 3 + [128] * 3 + [256] * 3 + [512] * 2
    assert [inputs for _, inputs in sound] == [1, *(outputs for outputs, _ in sound[:-1])]
    assert [layer.conv.stride for layer in network.sound if layer.conv.stride != (1, 1)] == [(3, 1), (3, 3), (3, 2)]
    assert network.dim == 512
    network.eval()
    assert network.faces(torch.zeros(1, 15, 48, 96)).shape == network.sound(torch.zeros(1, 1, 80, 16)).shape


@pytest.mark.parametrize("size", [24, 48, 192])
@pytest.mark.parametrize("options", [{}, {"norm": "group", "nonnegative": False, "probability": "half"}])
def test_embeddings_have_unit_length_at_every_size(size, options):
    network = SyncNetwork(image_size=size, width=4, **options).eval()
    with torch.no_grad():
        video, audio = network.embed_faces(faces(2, size)), network.embed_sound(mel(2))
    for embedding in (video, audio):
        assert embedding.shape == (2, 64)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    if not options:
        assert (video >= 0).all()
        assert (audio >= 0).all()


def test_the_upper_half_is_not_seen_and_faces_of_other_sizes_are_resized():
    network = SyncNetwork(**SMALL).eval()
    pictures = faces(2)
    changed = pictures.clone()
    changed[..., :12, :] = 0
    with torch.no_grad():
        assert torch.equal(network.embed_faces(pictures), network.embed_faces(changed))
        plain = torch.full((1, 5, 3, 50, 50), 0.25)
        torch.testing.assert_close(network.embed_faces(plain), network.embed_faces(plain[..., :24, :24]))
    assert network.lower_halves(torch.zeros(7, 2, 5, 3, 31, 40)).shape == (7, 2, 5, 3, 12, 24)


@pytest.mark.parametrize(("image_size", "probability"), [(100, "cosine"), (12, "cosine"), (24, "cosine")])
def test_what_cannot_be_built_is_refused(image_size, probability):
    with pytest.raises(UserError, match=r"SyncNetwork\.(image_size is|probability is)"):
        SyncNetwork(image_size=image_size, nonnegative=False, probability=probability)


def test_probabilities_are_finite_and_rise_with_the_cosine():
    cosines = torch.tensor([-1.00001, -1, -0.5, 0, 0.5, 1, 1.0001], dtype=torch.float64)
    for options in ({}, {"probability": "half"}, {"probability": "sigmoid"}):
        network = SyncNetwork(**SMALL, **options)
        assert network.logit(cosines).isfinite().all()
        assert network.probability(cosines.bfloat16()).dtype == torch.float32
        found = network.probability(cosines)
        assert found.dtype == torch.float64
        assert (found.diff() >= 0).all()
        assert ((found > 0) & (found < 1)).all() or options.get("probability") == "sigmoid"
    plain = SyncNetwork(**SMALL).probability(torch.tensor([0.2, 0.7]))
    torch.testing.assert_close(plain, torch.tensor([0.2, 0.7]))
    for options in ({}, {"probability": "half"}, {"probability": "sigmoid"}):
        network = SyncNetwork(**SMALL, **options)
        assert float(network.probability(torch.tensor(network.threshold()))) == pytest.approx(0.5)
    half = SyncNetwork(**SMALL, probability="half").probability(torch.tensor([0.2, -0.4]))
    torch.testing.assert_close(half, torch.tensor([0.6, 0.3]))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_frozen_expert_stays_as_it_is_inside_a_module_that_trains(norm):
    network = SyncNetwork(**SMALL, norm=norm)
    network.embed_faces(faces(4))  # batch statistics
    outer = nn.ModuleDict({"expert": network.freeze()})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pictures = faces(3).requires_grad_()
    alone = network.embed_faces(faces(3)[:1])
    outer.train()
    together = outer["expert"].embed_faces(pictures)
    assert not network.training
    torch.testing.assert_close(together[:1].detach(), alone)  # no sample depends on its batch
    together.sum().backward()
    assert pictures.grad is not None
    assert pictures.grad[..., 12:, :].abs().sum() > 0
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_biases_before_a_batch_norm_are_not_trained():
    network = SyncNetwork(**SMALL)
    useless = len(network.faces) + len(network.sound)
    assert len(network.effective_parameters()) == len(list(network.parameters())) - useless
    group = SyncNetwork(**SMALL, norm="group", probability="sigmoid")
    assert len(group.effective_parameters()) == len(list(group.parameters()))


def test_a_file_of_wav2lip_is_taken_with_its_colours_in_order():
    """The same network with that naming, which reads BGR, gives the same cosine."""
    network = SyncNetwork(width=4).eval()
    network.embed_faces(faces(3, 96))
    theirs = OrderedDict()
    for name, value in network.state_dict().items():
        side, number, part, leaf = name.split(".")
        branch = {"faces": "face_encoder", "sound": "audio_encoder"}[side]
        theirs[f"{branch}.{number}.conv_block.{['conv', 'norm'].index(part)}.{leaf}"] = value.clone()
    other = SyncNetwork(width=4).eval()
    other.load(theirs)
    turned = torch.stack([each.flip(1) for each in faces(2, 96)])
    with torch.no_grad():
        torch.testing.assert_close(other(turned, mel(2)), network(faces(2, 96), mel(2)))


def test_a_file_that_knows_its_options_gives_its_network(tmp_path):
    network = SyncNetwork(**SMALL, norm="group", nonnegative=False, probability="sigmoid").eval()
    path = tmp_path / "expert.safetensors"
    save_file(network.state_dict(), path, {key: str(value) for key, value in network.options.items()})
    read = SyncNetwork.from_file(path)
    assert read.options == network.options
    assert not any(weight.requires_grad for weight in read.parameters())
    with torch.no_grad():
        assert torch.equal(read(faces(2), mel(2)), network(faces(2), mel(2)))
    for wrong in ({"width": "broad"}, {"probability": "softmax"}, {"image_size": "100"}, {"residuals": "-1"}):
        save_file(network.state_dict(), path, {key: str(value) for key, value in (network.options | wrong).items()})
        with pytest.raises(UserError):
            SyncNetwork.from_file(path)
    save_file(network.state_dict(), path, {"image_size": "24", "norm": "group"})
    with pytest.raises(UserError, match="says of its SyncNet what cannot be read"):
        SyncNetwork.from_file(path)
    save_file(network.state_dict(), path)
    with pytest.raises(UserError, match="does not say which SyncNet"):
        SyncNetwork.from_file(path)
    with pytest.raises(UserError, match="no weights at"):
        SyncNetwork.from_file(tmp_path / "none.safetensors")


def test_a_file_of_wav2lip_is_known_by_its_names(tmp_path):
    network = SyncNetwork()
    names = {
        "faces.": "face_encoder.",
        "sound.": "audio_encoder.",
        ".conv.": ".conv_block.0.",
        ".norm.": ".conv_block.1.",
    }

    def theirs(name):
        for ours, other in names.items():
            name = name.replace(ours, other)
        return name

    torch.save({"state_dict": {theirs(k): v for k, v in network.state_dict().items()}}, tmp_path / "expert.pth")
    read = SyncNetwork.from_file(tmp_path / "expert.pth")
    assert torch.equal(read.sound[0].conv.weight, network.sound[0].conv.weight)
    assert not any(weight.requires_grad for weight in read.parameters())


def test_weights_that_are_not_finite_are_refused():
    state = SyncNetwork(**SMALL).state_dict()
    state["sound.0.conv.weight"][0] = torch.nan
    with pytest.raises(UserError, match=r"the file holds weights that are no finite numbers, such as sound\.0\.conv"):
        SyncNetwork(**SMALL).load(state)


def test_weights_of_another_width_are_refused():
    with pytest.raises(UserError, match=r"does not fit SyncNetwork; other shapes"):
        SyncNetwork(**SMALL).load(SyncNetwork(image_size=24, width=8).state_dict())
