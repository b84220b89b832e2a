"""A network as a program of torch.export and as a model of ONNX, and both run on inputs."""

import inspect
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable

ABOUT = "visionscapes.json"  # what a .pt2 file holds beside the program
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LARGEST_ONNX = 2**31 - 2**20  # bytes: ONNX files are protocol buffers, which end at 2 GiB
Run = Callable[[Sequence[Tensor]], list[Tensor]]


def check_packages() -> None:
    """Check that what ONNX files need is installed.

    Raises:
        UserError: it is not.
    """
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise UserError(
            f"ONNX files need the packages {', '.join(PACKAGES)}, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed: pip install 'visionscapes[export]', or export for "
            "torch alone with format pt2"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters print, warn and log of their own working from the terminal; errors still come."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), Path(os.devnull).open("w") as nowhere:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
        finally:
            logging.disable(disabled)


def eager(network: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return what a network itself makes of inputs."""
    with torch.no_grad():
        return _listed(network(*inputs))


def to_program(part: Exportable) -> ExportedProgram:
    """Return a network as a program of torch.export."""
    varying = {name: _dimension(name, size.multiple) for name, size in part.sizes.items()}
    shapes: list[Any] = [
        {place: varying[size] for place, size in enumerate(each.shape) if isinstance(size, str)}
        for each in part.inputs.values()
    ]
    parameters = list(inspect.signature(part.network.forward).parameters.values())
    if parameters[-1].kind == inspect.Parameter.VAR_POSITIONAL and len(shapes) >= len(parameters):
        single = len(parameters) - 1
        shapes[single:] = [tuple(shapes[single:])]
    examples = part.example()
    with torch.no_grad(), quiet():
        part.network(*examples)  # what is computed once and kept is computed here, of true tensors
        return torch.export.export(part.network, examples, dynamic_shapes=tuple(shapes), strict=False)


def write_program(program: ExportedProgram, path: Path, about: Mapping[str, Any]) -> None:
    """Write a program of torch.export.

    Args:
        program: to write.
        path: of the file, which ends in .pt2.
        about: plain values that the file holds as well.
    """
    with quiet():
        torch.export.save(program, path, extra_files={ABOUT: json.dumps(about)})


def program_of(path: Path) -> Run:
    """Return what runs a file of torch.export."""
    with quiet():
        return running(torch.export.load(path))


def running(program: ExportedProgram) -> Run:
    """Return what runs a program of torch.export."""
    with quiet():
        module = program.module()

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return _listed(module(*inputs))

    return run


def write_onnx(
    program: ExportedProgram, part: Exportable, path: Path, *, about: Mapping[str, Any], opset: int | None = None
) -> None:
    """Write a program as a model of ONNX, in which names stand for the sizes that may vary.

    Args:
        program: of torch.export.
        part: that it was made of.
        path: of the file.
        about: plain values that the file holds as well, as JSON under "visionscapes".
        opset: version of the operators; None: that of the exporter.

    Raises:
        UserError: the weights are more than an ONNX file can hold, or the operators cannot be had in that version.
    """
    weights = sum(each.numel() * each.element_size() for each in program.state_dict.values())
    if weights > LARGEST_ONNX:
        raise UserError(
            f"{part.name} has {weights / 2**30:.1f} GiB of weights, and an ONNX file holds 2 at most: export it with "
            "format pt2"
        )
    # Without gradients, as when it was followed: attention would be another operator with other strides.
    with torch.no_grad(), quiet():
        import onnx_ir

        model = torch.onnx.export(
            program,
            (),
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
        assert model is not None
        made = model.model.opset_imports.get("")
        if opset is not None and made != opset:
            raise UserError(f"the exporter has no way to version {opset} of the operators, it writes version {made}")
        names = symbols(program, part)
        for value in [*model.model.graph.inputs, *model.model.graph.outputs]:
            sizes: Any = value.shape or []
            value.shape = onnx_ir.Shape([_renamed(size, names) for size in sizes])
        model.model.metadata_props["visionscapes"] = json.dumps(about)
        model.save(path, external_data=False)


def onnx_of(path: Path) -> Run:
    """Return what runs an ONNX file on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        values = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
        return [torch.from_numpy(each) for each in session.run(None, values)]

    return run


def output_shapes(program: ExportedProgram, part: Exportable) -> list[list[int | str]]:
    """Return the shapes of the outputs, with names and formulas where sizes may vary."""
    names = symbols(program, part)
    by_name = {node.name: node for node in program.graph.nodes}
    values = [by_name[name].meta["val"] for name in program.graph_signature.user_outputs]
    return [[size if isinstance(size, int) else _renamed(str(size), names) for size in value.shape] for value in values]


def symbols(program: ExportedProgram, part: Exportable) -> dict[str, str]:
    """Return torch's own name for each size that may vary -> the name that it has in the shapes of the inputs."""
    by_name = {node.name: node for node in program.graph.nodes}
    found: dict[str, str] = {}
    for node, each in zip(program.graph_signature.user_inputs, part.inputs.values(), strict=True):
        for size, name in zip(by_name[node].meta["val"].shape, each.shape, strict=True):
            if isinstance(name, str):
                multiple = part.sizes[name].multiple
                known = name if multiple == 1 else f"({name}//{multiple})"
                found |= dict.fromkeys(re.findall(r"[A-Za-z_]\w*", str(size)), known)
    return found


def _dimension(name: str, multiple: int) -> Any:
    return Dim.DYNAMIC if multiple == 1 else multiple * Dim(f"{name}_parts")


def _renamed(size: Any, names: Mapping[str, str]) -> Any:
    text = size if isinstance(size, str) else getattr(size, "value", size)
    if not isinstance(text, str):
        return text
    for symbol, name in names.items():
        if name.startswith("("):
            known, multiple = name[1:-1].split("//")
            text = re.sub(rf"\b{multiple}\*{symbol}\b", known, text)
    return re.sub(r"[A-Za-z_]\w*", lambda found: names.get(found[0], found[0]), text)


def _listed(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
