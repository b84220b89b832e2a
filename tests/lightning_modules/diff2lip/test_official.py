"""The published network: golden outputs of one with made-up weights, and the names and sizes of the released one."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.diff2lip.audio_network import AudioOptions
from lightning_modules.diff2lip.network import Conditions, LipNetwork, UNetOptions
from lightning_modules.diff2lip.official import load_network, official_name
from visionscapes.errors import UserError

GOLDEN = Path(__file__).parent / "golden_small.npz"  # every third row and column of the output at 64 pixels
SMALL = UNetOptions(
    base=32, multipliers=(1, 2, 3, 4), blocks=1, attention_levels=(1, 2, 3), head_channels=32, learn_sigma=True
)
RELEASED = UNetOptions(learn_sigma=True)


def value_of(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the weight that a name stands for."""
    value = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype("f4")
    if len(shape) > 1:
        return torch.from_numpy(value / np.sqrt(np.float32(np.prod(shape[1:]))))
    return torch.from_numpy(np.float32(0.1) * value + np.float32(name.endswith("weight")))


def checkpoint_of(options: UNetOptions) -> dict[str, torch.Tensor]:
    """Return a checkpoint as the authors' code would write it."""
    with torch.device("meta"):
        own = LipNetwork(options, AudioOptions()).state_dict()
    state = {}
    for name, weight in own.items():
        shape, theirs = tuple(weight.shape), official_name(name, options)
        if re.search(r"to_[qkv]\.", name):
            shape = (3 * shape[0], *shape[1:])
        if "attentions" in name and len(shape) == 2:
            shape = (*shape, 1)
        state[theirs] = value_of(theirs, shape)
    return state


@pytest.fixture(scope="module")
def small() -> dict[str, torch.Tensor]:
    return checkpoint_of(SMALL)


@pytest.mark.parametrize("kind", ["safetensors", "pt of float16, several GPUs"])
def test_golden_outputs(tmp_path, small, kind):
    path = tmp_path / f"model.{kind[:11] if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(small, path)
    else:
        torch.save({f"module.{name}": value.half() for name, value in small.items()}, path)
    network = LipNetwork(SMALL, AudioOptions()).eval()
    load_network(network, str(path), SMALL)
    random = np.random.default_rng(0)
    shapes = [(2, 3, 64, 64)] * 3 + [(2, 80, 16)]
    x_t, masked, reference, mel = (torch.from_numpy(random.standard_normal(s).astype("f4")) for s in shapes)
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 32:] = 1
    with torch.no_grad():
        sound = network.embed(mel)
        output = network(x_t, torch.tensor([500, 20]), sound, conditions=Conditions(masked, reference, mask))
    golden = np.load(GOLDEN)
    tolerance = 1e-4 if kind == "safetensors" else 2e-2
    np.testing.assert_allclose(sound.numpy(), golden["audio"], atol=tolerance)
    np.testing.assert_allclose(output[:, :, ::3, ::3].numpy(), golden["output"], atol=tolerance)


def test_the_released_network_has_its_size():
    with torch.device("meta"):
        network = LipNetwork(RELEASED, AudioOptions())
    sizes = {name: sum(each.numel() for each in part.parameters()) for name, part in network.named_children()}
    assert sizes == {"audio": 1_718_240, "unet": 99_952_390}
    assert len({official_name(name, RELEASED) for name in network.state_dict()}) == 632


def test_other_networks_are_refused(tmp_path, small):
    path = tmp_path / "model.pt"
    torch.save(small, path)
    with pytest.raises(UserError, match="published network"):
        load_network(LipNetwork(UNetOptions(**{**vars(SMALL), "learn_sigma": False}), AudioOptions()), str(path), SMALL)
    with pytest.raises(UserError, match="whose encoder of sound is 'unet'"):
        load_network(LipNetwork(SMALL, AudioOptions(encoder="syncnet")), str(path), SMALL)
    del small["out.2.weight"]
    torch.save(small, path)
    with pytest.raises(UserError, match=r"missing: unet\.conv_out\.weight"):
        load_network(LipNetwork(SMALL, AudioOptions()), str(path), SMALL)


def test_our_own_files_are_read_with_the_moving_average_first(tmp_path):
    tiny = UNetOptions(base=8, multipliers=(1,), blocks=1, attention_levels=(), head_channels=8)
    network, read = (LipNetwork(tiny, AudioOptions(width=4)) for _ in range(2))
    state = network.state_dict()
    other = {f"generator.{name}": value + 1 for name, value in state.items()}
    for content in (state, other | {f"average.module.{name}": value for name, value in state.items()}):
        torch.save(content, tmp_path / "model.pt")
        load_network(read, str(tmp_path / "model.pt"), tiny)
        assert all(torch.equal(value, state[name]) for name, value in read.state_dict().items())
