"""Model dictionaries of mmdet: read from its collection or a file, changed, and made to run without mmengine's runner.

Everything here works on dictionaries; `networks.detection.build` makes models of them.
"""

import copy
import difflib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from visionscapes.errors import UserError, in_words

COLLECTION = "mmdet::"
# Under these keys there are no classes of the data set: an RPN tells objects from background only.
CLASS_AGNOSTIC = ("backbone", "neck", "rpn_head", "teacher_config")


def read_config(config: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the model dictionary of a configuration.

    Args:
        config: path of an mmengine configuration (a Python file, which is executed); "mmdet::" and a path within
            mmdet's collection, such as "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"; or a dictionary, the model
            itself or with the model under "model".

    Raises:
        UserError: there is no such file, it cannot be read, or it describes no model.
    """
    from mmengine import ConfigDict

    content = config if isinstance(config, Mapping) else _read_file(_path_of(config))
    model = content.get("model", content)
    if not isinstance(model, Mapping) or "type" not in model:
        name = "the dictionary" if isinstance(config, Mapping) else f"'{config}'"
        raise UserError(f"{name} describes no model: choose a configuration with model=dict(type=..., ...)")
    model = ConfigDict(copy.deepcopy(dict(model)))
    if isinstance(model.get("teacher_config"), str):
        model.teacher_config = _teacher(model.teacher_config)
    return model


def plain_config(config: str | Path | Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the model dictionary of a configuration in plain values; None if there are others, such as classes.

    Args:
        config: see `read_config`.

    Raises:
        UserError: see `read_config`.
    """
    found = _as_dictionaries(read_config(config))
    return found if _is_plain(found) else None


def _as_dictionaries(value: Any) -> Any:
    """Return mmengine's own dictionaries as plain ones, at any depth."""
    if isinstance(value, Mapping):
        return {key: _as_dictionaries(each) for key, each in value.items()}
    return type(value)(map(_as_dictionaries, value)) if isinstance(value, list | tuple) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def _path_of(config: str | Path) -> Path:
    if str(config).startswith(COLLECTION):
        return _in_collection(str(config).removeprefix(COLLECTION))
    path = Path(config).expanduser()
    if not path.is_file():
        raise UserError(
            f"no detector configuration at '{path}': give the path of a file, "
            f"or '{COLLECTION}' and a name in mmdet's collection"
        )
    return path


def collection() -> Path:
    """Return the folder of mmdet's own configurations."""
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / ".mim" / "configs"


def _in_collection(name: str) -> Path:
    folder = collection()
    path = folder / (name if name.endswith(".py") else f"{name}.py")
    if path.is_file():
        return path
    known = {file.stem: file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.py"))}
    close = difflib.get_close_matches(path.stem, known, n=3, cutoff=0.5)
    raise UserError(
        f"mmdet's collection has no '{name}'; "
        + (f"similar: {', '.join(COLLECTION + known[stem] for stem in close)}" if close else f"see {folder}")
    )


def _read_file(path: Path) -> Mapping[str, Any]:
    from mmengine import Config

    try:
        return Config.fromfile(path)
    except ImportError as error:
        reason = str(error).partition(", the current sys.path")[0]
        raise UserError(f"'{path}' needs Python modules that are not installed: {reason}") from error
    except Exception as error:  # the file is a program of the user's, and may raise anything
        raise UserError(f"'{path}' cannot be read as an mmengine configuration: {in_words(error)}") from error


def _teacher(name: str) -> dict[str, Any]:
    """The collection's distilled detectors name their teacher by a path in mmdet's repository."""
    path = Path(name) if Path(name).is_file() else _in_collection(name.removeprefix("configs/"))
    return {"model": read_config(path)}


def apply_override(model: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Set a value inside a model dictionary.

    Args:
        model: changed in place.
        key: keys joined by dots, "backbone.depth". In a list a number picks one element; any other key goes to all
            elements, so that "roi_head.bbox_head.num_classes" reaches the heads of a cascade too.
        value: a dictionary is merged into the one there, unless it has another "type" or "_delete_": True.

    Raises:
        UserError: the model has no such place, or the last key resembles one that is there.
    """
    if not isinstance(key, str):
        raise UserError(f"override {key!r}: give the name of what to set, as in backbone.depth")
    _assign(model, key.split("."), value, key)


def _assign(node: Any, parts: list[str], value: Any, key: str) -> None:
    head, *rest = parts
    if isinstance(node, list):
        if not head.isdigit():
            for child in node:
                _assign(child, parts, value, key)
            return
        if int(head) >= len(node):
            raise UserError(f"override '{key}': the list has {len(node)} elements only")
        place: Any = int(head)
    elif isinstance(node, MutableMapping):
        place = head
        _check_key(node, head, key, last=not rest)
    else:
        raise UserError(f"override '{key}': '{head}' would lie inside the value {node!r}; shorten the key")
    if rest:
        _assign(node[place], rest, value, key)
    elif isinstance(value, Mapping) and _mergeable(node[place] if isinstance(node, list) else node.get(place), value):
        for inner, new in value.items():  # the command line's parser splits a dotted name after its first part
            _assign(node[place], inner.split("."), new, f"{key}.{inner}")
    else:
        node[place] = _plain(value)


def _check_key(node: Mapping[str, Any], head: str, key: str, last: bool) -> None:
    """A model's own arguments are checked when it is built; thresholds and the like only here."""
    if head in node:
        return
    close = difflib.get_close_matches(head, node, n=1, cutoff=0.85)
    if not last or close:
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(map(str, node)) or 'no keys'}"
        raise UserError(f"override '{key}': the model has no '{head}' there; {hint}")


def _mergeable(old: Any, new: Mapping[str, Any]) -> bool:
    same_type = isinstance(old, Mapping) and new.get("type", old.get("type")) == old.get("type")
    return same_type and not new.get("_delete_", False)


def _plain(value: Any) -> Any:
    from mmengine import ConfigDict

    if not isinstance(value, Mapping):
        return copy.deepcopy(value)
    return ConfigDict({key: item for key, item in copy.deepcopy(dict(value)).items() if key != "_delete_"})


def set_num_classes(model: MutableMapping[str, Any], num_classes: int) -> None:
    """Set the number of classes in all heads, and in losses that have it, but in no RPN.

    Args:
        model: changed in place.
        num_classes: K, without background.
    """
    for node in _nodes(model, CLASS_AGNOSTIC):
        for name in ("num_classes", "num_things_classes"):
            if name in node:
                node[name] = num_classes
        weights = node.get("class_weight")
        if isinstance(weights, list | tuple) and len(weights) > 1:  # one for each class, then for background
            node["class_weight"] = [weights[0]] * num_classes + [weights[-1]]


def remove_downloads(model: MutableMapping[str, Any]) -> None:
    """Take out the weights that mmdet would fetch from the network while it initialises the model."""
    for node in _nodes(model):
        init = node.get("init_cfg")
        if isinstance(init, list | tuple):
            node["init_cfg"] = [item for item in init if not _is_pretrained(item)]
        elif _is_pretrained(init):
            node["init_cfg"] = None
        if isinstance(node.get("pretrained"), str):
            node["pretrained"] = None


def _is_pretrained(init: Any) -> bool:
    # Backbones that load their weights themselves, such as PVT, name a checkpoint without a type.
    return isinstance(init, Mapping) and ("checkpoint" in init or _type_name(init) in ("Pretrained", "PretrainedInit"))


def use_local_batch_norm(model: MutableMapping[str, Any]) -> None:
    """Replace synchronised batch normalisation, which asks for GPUs, by the ordinary one."""
    for node in _nodes(model):
        if _type_name(node) in ("SyncBN", "MMSyncBN", "SyncBatchNorm"):
            node["type"] = "BN"


def remove_batch_augments(model: MutableMapping[str, Any]) -> None:
    """Take out what resizes and pads training batches: sizes of images are the data module's."""
    preprocessor = model.get("data_preprocessor")
    if isinstance(preprocessor, MutableMapping) and preprocessor.get("batch_augments"):
        preprocessor["batch_augments"] = None


def remove_stuff(model: MutableMapping[str, Any]) -> None:
    """Take out the branches that learn from maps of stuff (sky, grass), and say so in a warning.

    Panoptic segmentation becomes instance segmentation, a cascade with a semantic branch one without.
    """
    removed = False
    for node in _nodes(model):
        for name in ("semantic_head", "semantic_roi_extractor"):
            if node.get(name):
                node[name] = None
                removed = True
        if node.get("num_stuff_classes"):
            node["num_stuff_classes"] = 0
            removed = True
        if "pad_seg" in node:
            node["pad_seg"] = False
    if not removed:
        return
    if _type_name(model) == "PanopticFPN":
        model["type"] = "MaskRCNN"
        del model["semantic_head"], model["panoptic_fusion_head"]
    elif "panoptic_head" in model:
        set_num_classes(model["panoptic_head"], model["panoptic_head"]["num_things_classes"])
        model["test_cfg"].update(panoptic_on=False, instance_on=True)
    warnings.warn("the branches for stuff are left out: data sets of boxes have no maps to train them", stacklevel=2)


def _nodes(node: Any, skipped: tuple[str, ...] = ()) -> Iterator[MutableMapping[str, Any]]:
    """All dictionaries of a nested configuration but those under ``skipped`` keys."""
    if isinstance(node, list | tuple):
        for child in node:
            yield from _nodes(child, skipped)
    elif isinstance(node, MutableMapping):
        yield node
        for key in list(node):
            if key not in skipped:
                yield from _nodes(node.get(key), skipped)


def _type_name(node: Mapping[str, Any]) -> str:
    kind = node.get("type")
    return (kind if isinstance(kind, str) else getattr(kind, "__name__", "")).rpartition(".")[2]
