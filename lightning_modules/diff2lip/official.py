"""Checkpoints of the authors of Diff2Lip: which of their names is which of ours."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from lightning_modules.diff2lip.audio_network import BLOCKS, MULTIPLIERS
from lightning_modules.diff2lip.network import UNetOptions
from networks.weights import load_state, read_state_dict
from visionscapes.errors import UserError

MARK = "input_blocks.0.0.weight"  # a name that only their files have
_BLOCK = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PLAIN = {
    "unet.conv_in": "input_blocks.0.0",
    "unet.time_embedding.linear_1": "time_embed.0",
    "unet.time_embedding.linear_2": "time_embed.2",
    "unet.mid_block.resnets.0": "middle_block.0",
    "unet.mid_block.attentions.0": "middle_block.1",
    "unet.mid_block.resnets.1": "middle_block.2",
    "unet.conv_norm_out": "out.0",
    "unet.conv_out": "out.2",
    "audio.time_embedding.linear_1": "audio_encoder.time_embed.0",
    "audio.time_embedding.linear_2": "audio_encoder.time_embed.2",
    "audio.entry": "audio_encoder.input_block.0",
    "audio.entry_norm": "audio_encoder.input_block.1",
    "audio.conv_in": "audio_encoder.encoder_blocks.0.0",
    "audio.norm": "audio_encoder_to_style.0",
    "audio.style": "audio_encoder_to_style.3",
}
_AUDIO_BLOCKS = len(MULTIPLIERS) * (BLOCKS + 1) - 1  # of all levels, the last of which is not reduced


def is_official(state: Mapping[str, Tensor]) -> bool:
    """Return whether weights are named as in the authors' checkpoints."""
    return any(name.removeprefix("module.") == MARK for name in state)


def official_name(name: str, options: UNetOptions) -> str:
    """Return what the authors call a parameter of `LipNetwork`; of queries, keys and values it is the one of all three.

    Args:
        name: ours.
        options: of the UNet.
    """
    *parts, last = name.split(".")
    whole = ".".join(parts)
    if whole in _PLAIN:
        return f"{_PLAIN[whole]}.{last}"
    found = re.fullmatch(r"(unet\.\w+\.\d+\.\w+\.\d+|unet\.mid_block\.\w+\.\d+|audio\.blocks\.\d+)\.(.+)", whole)
    if found is None:
        raise KeyError(name)
    place, layer = found[1], found[2]
    inner = _BLOCK.get(layer) or {"group_norm": "norm", "to_out.0": "proj_out"}.get(layer, "qkv")
    return f"{_PLAIN.get(place) or _place(place, options)}.{inner}.{last}"


def _place(place: str, options: UNetOptions) -> str:
    """Return what the authors call a block, "unet.down_blocks.<level>.<kind>.<number>" and the like of ours."""
    _, blocks, level, *rest = place.split(".")
    if blocks == "blocks":  # those of the sound, which have no levels here
        number = int(level)
        return (
            "audio_encoder.middle_block.0"
            if number == _AUDIO_BLOCKS
            else f"audio_encoder.encoder_blocks.{number + 1}.0"
        )
    kind, number = rest[0], int(rest[1])
    a_level = options.blocks + 1  # theirs: residual blocks and the one that reduces or enlarges
    second = int(kind != "resnets")  # attention follows a residual block
    if blocks == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(int(level) + 1) * a_level}.0"
        return f"input_blocks.{1 + int(level) * a_level + number}.{second}"
    if kind == "upsamplers":
        attends = len(options.multipliers) - 1 - int(level) in options.attention_levels
        return f"output_blocks.{(int(level) + 1) * a_level - 1}.{1 + attends}"
    return f"output_blocks.{int(level) * a_level + number}.{second}"


def load_official(network: nn.Module, state: Mapping[str, Tensor], options: UNetOptions, source: str) -> None:
    """Load a checkpoint of the authors into a `LipNetwork`, strictly.

    Args:
        network: built with the options of the checkpoint.
        state: name to tensor, of any floating type.
        options: of the network's UNet.
        source: what the weights come from, for the message.

    Raises:
        UserError: names or shapes do not fit.
    """
    given = {name.removeprefix("module."): value for name, value in state.items()}
    own = network.state_dict()
    try:
        names = {name: official_name(name, options) for name in own}
    except KeyError as error:
        raise UserError(
            f"{source} holds the authors' network, whose encoder of sound is 'unet'; this one has another, with {error}"
        ) from error
    found = {name: _part(given[theirs], name, options) for name, theirs in names.items() if theirs in given}
    left_over = {name: value for name, value in given.items() if name not in names.values()}
    remedy = (
        "The published network has learn_sigma, additive conditioning, encoder 'unet' and the defaults of the rest at "
        "128 pixels."
    )
    load_state(network, found | left_over, source, remedy)


def _part(theirs: Tensor, name: str, options: UNetOptions) -> Tensor:
    """Return the part of one of the authors' tensors that is one of ours."""
    part = re.search(r"\.to_([qkv])\.(weight|bias)$", name)
    if part is not None:
        heads = theirs.unflatten(0, (-1, 3, options.head_channels))  # of each head its queries, its keys, its values
        theirs = heads[:, "qkv".index(part[1])].flatten(0, 1)
    # Their attention maps with convolutions of a kernel of one, ours are linear.
    return theirs.squeeze(-1) if theirs.ndim == 3 and "attentions" in name else theirs


def load_network(network: nn.Module, path: str, options: UNetOptions) -> None:
    """Load weights of a `LipNetwork` from a file: the authors', ours, or those of a checkpoint of a run.

    Args:
        network: receives the weights; of a checkpoint those of the moving average, if it has one.
        path: of the file.
        options: of the network's UNet.

    Raises:
        UserError: the file is missing or cannot be read, or names or shapes do not fit.
    """
    state = read_state_dict(path)
    if is_official(state):
        load_official(network, state, options, f"'{path}'")
        return
    for prefix in ("average.module.", "generator."):
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    load_state(network, state, f"'{path}'")
