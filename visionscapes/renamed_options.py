"""Options that have moved into groups: what they were called, so that old commands, files and records stay valid.

The one table serves command lines and YAML files (`command_line.reading.old_names`), checkpoints
(`lightning_modules.grouped_options`), and the identity of recorded runs (`experiments.records`), which keeps the old
names.
"""

from collections.abc import Mapping
from typing import Any

MODEL = "model.init_args."


def _into(group: str, names: str, **changed: str) -> dict[str, str]:
    """Return old name -> new name for names that are the same within their group, and for those that have changed."""
    same = {name: f"{group}.{name}" for name in names.split()}
    return same | {old: f"{group}.{new}" for old, new in changed.items()}


_HARDWARE = _into("hardware", "channels_last compile")
# class -> old name -> new name, dots between a group and its option.
RENAMED: dict[str, dict[str, str]] = {
    "GANDiscovery": {
        **_into("network", "backbone weights backbone_args hidden dim dropout most_classes"),
        **_into("stages", "method k hashes window percentile inside members rule scale merge_distance components"),
        **_into("stages", "merging repeats epsilon tau max_negatives jobs"),
    },
    "GRIT": {
        **_into("generator", "style_dim base most downs noise residual composition content_fc style_condition"),
        **_into("generator", "full_resolution_skip"),
        **_into("discriminator", "stddev_group", discriminator="architecture", discriminator_base="base"),
        **_into("adversarial", "gan_loss r1 r2 penalty_every"),
        **_into("optimizer", "lr beta1 beta2 ema decay_epochs warmup clip accumulate"),
        **_HARDWARE,
    },
    "Pix2PixHD": {
        **_into("generator", "base downs blocks style_channels"),
        **_into("discriminator", "scales", discriminator_base="base"),
        **_into("matching", "lambda_features lambda_vgg vgg_weights"),
        **_into("optimizer", "lr beta1 beta2 ema decay_epochs accumulate"),
        **_HARDWARE,
    },
    "SPADE": {
        **_into("generator", "style_dim base hidden"),
        **_into("discriminator", "scales", discriminator_base="base"),
        **_into("matching", "lambda_features lambda_vgg vgg_weights"),
        **_into("optimizer", "lr beta1 beta2 ema decay_epochs accumulate"),
        **_HARDWARE,
    },
}
# The same in every class that has it: a test says so.
_OLD_OF = {new: old for names in RENAMED.values() for old, new in names.items()}


def new_name(class_name: str, option: str, value: Any = None) -> str:
    """Return what an option of a class is called now.

    Args:
        class_name: without its package.
        option: perhaps old, perhaps with a part of its value behind a dot, such as "backbone_args.depth".
        value: of the option: a name that was an option and is a group now is old only with a value that is no group.
    """
    first, dot, rest = option.partition(".")
    new = RENAMED.get(class_name, {}).get(first)
    if new is None or (new.startswith(f"{first}.") and (rest or _is_group(value))):
        return option
    return new + dot + rest


def old_name(option: str) -> str:
    """Return what a key of a configuration was called first; itself if it has always been called so.

    Args:
        option: such as "model.init_args.stages.k".
    """
    name = option.removeprefix(MODEL)
    if name == option:
        return option
    for new, old in _OLD_OF.items():
        if name == new or name.startswith(f"{new}."):
            return MODEL + old + name.removeprefix(new)
    return option


def with_new_names(class_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a class in their groups, of which old ones may stand outside; where both are, new ones win.

    Args:
        class_name: without its package.
        options: by name, groups as dictionaries.
    """
    names = {option: new_name(class_name, option, value) for option, value in options.items()}
    found: dict[str, Any] = {}
    for option, value in options.items():
        group, dot, name = names[option].partition(".")
        if names[option] != option and dot:
            found.setdefault(group, {})[name] = value
    for option, value in options.items():
        if names[option] == option:
            found[option] = {**found[option], **value} if option in found and _is_group(value) else value
    return found


def groups_of(class_name: str) -> set[str]:
    """Return the names of the groups that options of a class have moved into."""
    return {new.partition(".")[0] for new in RENAMED.get(class_name, {}).values()}


def with_old_names(class_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a class as they were called first, outside their groups; `with_new_names` backwards."""
    old_of = {new: old for old, new in RENAMED.get(class_name, {}).items()}
    groups = groups_of(class_name)
    found: dict[str, Any] = {}
    for option, value in options.items():
        if option not in groups or not isinstance(value, Mapping):
            found[option] = value
            continue
        unknown = {name: each for name, each in value.items() if f"{option}.{name}" not in old_of}
        found |= {old_of[f"{option}.{name}"]: each for name, each in value.items() if name not in unknown}
        found |= {option: unknown} if unknown else {}  # an option that is as young as its group
    return found


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, str) and value.lstrip().startswith("{"))
