"""Writing the networks of a module as files, each held against the network itself before it is left."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from visionscapes.errors import UserError
from visionscapes.exporting import programs
from visionscapes.exporting.parts import Exportable, HasExportable
from visionscapes.files import make_folder, named_errors, write_json

Format = Literal["onnx", "pt2"]
FORMATS: tuple[Format, ...] = get_args(Format)
TOLERANCE = 1e-4
Say = Callable[[str], object]


@dataclass(frozen=True)
class Exported:
    """A file with a network.

    Attributes:
        path: of the file.
        difference: between its outputs and those of the network itself, at most, on other inputs than those that it was
            exported with; where the largest value of an output is above 1, as a share of that.
        seconds: that it took to write and check it.
    """

    path: Path
    difference: float
    seconds: float


def export_networks(
    module: nn.Module,
    folder: str | Path,
    *,
    formats: Sequence[Format] = FORMATS,
    opset: int | None = None,
    about: Mapping[str, Any] | None = None,
    say: Say = print,
) -> list[Exported]:
    """Write the networks that a module offers, with a JSON file beside each that describes inputs and outputs.

    Args:
        module: with ``exportable()``, on the CPU; its networks are exported in evaluation mode.
        folder: to write to; it is made if it is missing.
        formats: of the files.
        opset: version of the ONNX operators; None: that of the exporter.
        about: plain values that the files hold as well, such as where the weights come from.
        say: is told, line by line, what was written and how long it took.

    Raises:
        UserError: the module has no networks to export, packages are missing, a network cannot be exported, or a file
            gives other values than the network: it is removed.
    """
    if not isinstance(module, HasExportable):
        raise UserError(f"{type(module).__name__} offers no networks to export")
    if "onnx" in formats:
        programs.check_packages()
    written: list[Exported] = []
    with evaluating(module):
        for part in module.exportable():
            try:
                with uncompiled(part.network):
                    written += _export(part, Path(folder), formats, opset=opset, about=about or {}, say=say)
            except UserError as error:
                if not part.optional:
                    raise
                say(f"left out: {error}")
    return written


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference of outputs; where the largest value of one is above 1, as a share of that."""
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        ours, theirs = ours.double(), theirs.double()
        known = theirs[theirs.isfinite()].abs()
        scale = known.max().clamp(min=1) if known.numel() else torch.ones(())
        same = (ours == theirs) | (ours.isnan() & theirs.isnan())
        gaps = torch.where(same, 0.0, (ours - theirs).abs()) / scale
        worst = max(worst, float(gaps.nan_to_num(nan=float("inf"), posinf=float("inf")).max()) if gaps.numel() else 0.0)
    return worst


def described(part: Exportable, program: ExportedProgram) -> dict[str, Any]:
    """Return plain values that say what a network takes and gives.

    Args:
        part: the network.
        program: that was made of it.
    """
    outputs = zip(part.outputs.items(), programs.output_shapes(program, part), strict=True)
    return {
        "network": part.name,
        "inputs": {name: each.described() for name, each in part.inputs.items()},
        "outputs": {name: {"shape": shape, "meaning": meaning} for (name, meaning), shape in outputs},
        "sizes": {name: {"multiple_of": size.multiple} for name, size in part.sizes.items()},
        **part.about,
    }


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Have a module in evaluation mode meanwhile, and its networks as they were afterwards."""
    before = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, mode in before.items():
            each.training = mode


@contextmanager
def uncompiled(network: nn.Module) -> Iterator[None]:
    """Have a network run its own code meanwhile, which exporters follow, and not what was compiled of it."""
    compiled = {each: each._compiled_call_impl for each in network.modules() if each._compiled_call_impl is not None}
    for each in compiled:
        each._compiled_call_impl = None
    try:
        yield
    finally:
        for each, call in compiled.items():
            each._compiled_call_impl = call


class _Checks:
    """What a network gives for other inputs than those that it is exported with."""

    def __init__(self, part: Exportable):
        self.inputs = part.checks()
        self.expected = [programs.eager(part.reference or part.network, each) for each in self.inputs]

    def worst(self, run: programs.Run) -> float:
        """Return by how much another way of running the network differs from it.

        Raises:
            UserError: by more than is allowed.
        """
        pairs = zip(self.inputs, self.expected, strict=True)
        worst = max(difference(run(inputs), expected) for inputs, expected in pairs)
        if not worst <= TOLERANCE:
            raise UserError(f"its values differ by {worst:.2g} from those of the network, more than {TOLERANCE:g}")
        return worst

    def sizes(self) -> str:
        """Return the sizes of the first input in words."""
        return ", ".join("x".join(map(str, each[0].shape)) for each in self.inputs)


def _export(
    part: Exportable,
    folder: Path,
    formats: Sequence[Format],
    *,
    opset: int | None,
    about: Mapping[str, Any],
    say: Say,
) -> list[Exported]:
    began = time.monotonic()
    part.network.eval()
    while True:
        try:
            program, checks = _traced(part)
            break
        except UserError as error:
            fixed = part.with_fixed_sizes()
            if fixed is None:
                raise
            say(f"note: {' and '.join(size for size in part.sizes if size not in fixed.sizes)} cannot vary: {error}")
            part = fixed
    say(f"{part.name}: followed in {time.monotonic() - began:.1f} s")
    about = {**described(part, program), **about}
    written = []
    for kind in formats:
        began, path = time.monotonic(), folder / f"{part.name}.{kind}"
        try:
            worst = _written(part, program, path, about=about, opset=opset, checks=checks)
        except UserError as error:
            if not part.optional:
                raise
            say(f"left out: {error}")
            continue
        seconds, size = time.monotonic() - began, path.stat().st_size / 1e6
        say(f"{path}: {size:.1f} MB, {seconds:.1f} s; differs from the network by {worst:.1e} at {checks.sizes()}")
        written.append(Exported(path, worst, seconds))
    if written:
        differences = {each.path.suffix[1:]: each.difference for each in written}
        write_json(folder / f"{part.name}.json", {**about, "differences": differences})
    return written


def _written(
    part: Exportable,
    program: ExportedProgram,
    path: Path,
    *,
    about: Mapping[str, Any],
    opset: int | None,
    checks: "_Checks",
) -> float:
    """Write a file, which is kept if it does as the network does, and return by how much it differs."""
    unfinished = path.with_name(f".{path.stem}.partial{path.suffix}")
    with named_errors(path, unfinished), _explained(path.name):
        make_folder(path.parent)
        try:
            if path.suffix == ".pt2":
                programs.write_program(program, unfinished, about)
                worst = checks.worst(programs.program_of(unfinished))
            else:
                programs.write_onnx(program, part, unfinished, about=about, opset=opset)
                worst = checks.worst(programs.onnx_of(unfinished))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return worst


def _traced(part: Exportable) -> tuple[ExportedProgram, _Checks]:
    """Return a network as a program that gives the same for inputs of other sizes, and with what that was checked."""
    with _explained(part.name):
        checks = _Checks(part)
        program = programs.to_program(part)
        checks.worst(programs.running(program))
    return program, checks


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say in one line what an exporter cannot do."""
    try:
        yield
    except OSError:
        raise
    except UserError as error:
        raise UserError(f"{name} cannot be exported: {error}") from error
    except Exception as error:  # exporters raise errors of many classes of their own
        raise UserError(f"{name} cannot be exported: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return the first line of what began it: exporters tell of it last, behind their own words."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
