import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from networks.weights import load_weights, read_state_dict, read_values, strip_prefix
from tests.helpers.bomb import Bomb
from visionscapes.errors import UserError


def network(seed=0, width=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def prefixed(state, prefix):
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".ckpt"])
def test_round_trip(tmp_path, suffix):
    state = network().state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert equal(read_state_dict(path), state)
    other = network(seed=1)
    load_weights(other, path)
    assert equal(other.state_dict(), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"student": prefixed(state, "module.backbone."), "teacher": prefixed(state, "backbone.")},
        lambda state: {"model": {"state_dict": prefixed(state, "module.")}},
        lambda state: prefixed(state, "module.base_encoder.") | prefixed(state, "module.momentum_encoder."),
        lambda state: {**state, "classifier.weight": torch.zeros(2), "optimiser": {"lr": 0.1}},
    ],
    ids=["lightning", "dino", "nested", "moco", "with a head"],
)
def test_authors_layouts(tmp_path, wrap):
    trained, other = network(), network(seed=1)
    torch.save(wrap(trained.state_dict()), tmp_path / "weights.pth")
    load_weights(other, tmp_path / "weights.pth", ignore=["classifier"])
    assert equal(other.state_dict(), trained.state_dict())


def test_strip_prefix_takes_the_one_that_matches_most_names():
    state = {"backbone.a": torch.zeros(1), "backbone.b": torch.zeros(1), "a": torch.ones(1)}
    assert sorted(strip_prefix(state, ["a", "b"])) == ["a", "b"]
    assert sorted(strip_prefix({"a": torch.zeros(1)}, ["a", "b"])) == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.weight"), r"missing: 0\.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "left over: extra"),
        (lambda state: state.update({"0.bias": torch.zeros(7)}), r"0\.bias is \(7,\), wanted \(3,\)"),
    ],
)
def test_every_mismatch_is_reported_and_nothing_is_loaded(tmp_path, change, message):
    state, other = network().state_dict(), network(seed=1)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message):
        load_weights(other, tmp_path / "weights.pth")
    assert equal(other.state_dict(), before)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickle_bomb_does_not_go_off(tmp_path, writer):
    content = {"state_dict": network().state_dict(), "callback": Bomb(tmp_path / "crater")}
    path = tmp_path / "bomb.pth"
    torch.save(content, path) if writer == "torch" else path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"bomb\.pth.*could run code"):
        read_state_dict(path)
    assert not (tmp_path / "crater").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_file(tmp_path, suffix, share):
    path, state = tmp_path / f"cut{suffix}", nn.Linear(40, 40).state_dict()
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"cut\.(safetensors|pth)"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_of_something_else(tmp_path, suffix):
    path = tmp_path / f"page{suffix}"
    path.write_text("<html>404: not found</html>" * 20)
    with pytest.raises(UserError, match="page"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"junk", b"2", b"h", b"a", b"PK\x05\x06" + bytes(18)])
@pytest.mark.parametrize("read", [read_state_dict, read_values])
def test_whatever_torch_makes_of_a_damaged_file(tmp_path, read, content):
    """It raises struct.error for the first and IndexError for others, and says of none that it would."""
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.ckpt' (cannot be read|is damaged)"):
        read(path)


def test_missing_file_or_folder(tmp_path):
    for path in (tmp_path / "nowhere.pth", tmp_path):
        with pytest.raises(UserError, match="no weights at"):
            read_state_dict(path)


def test_not_a_state_dict(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(UserError, match="holds a Tensor, not a state dict"):
        read_state_dict(tmp_path / "tensor.pth")


def test_what_a_checkpoint_holds_beside_weights(tmp_path):
    torch.save({"size": [3, 4], "state_dict": {"weight": torch.zeros(2)}}, tmp_path / "run.ckpt")
    told = read_values(tmp_path / "run.ckpt")
    assert told["size"] == [3, 4]
    assert told["state_dict"]["weight"].is_meta
    save_file({"weight": torch.zeros(2)}, tmp_path / "plain.safetensors")
    assert read_values(tmp_path / "plain.safetensors") == {}
    for name, content in (("none.ckpt", None), ("cut.ckpt", (tmp_path / "run.ckpt").read_bytes()[:100])):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_values(tmp_path / name)
