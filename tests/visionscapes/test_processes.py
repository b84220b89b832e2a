import ast
import gc
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from visionscapes import processes
from visionscapes.processes import (
    computed_once,
    from_first,
    gather_entries,
    gather_objects,
    gather_tensors,
    in_process_group,
    is_first,
    overwrite_by_first,
    rank_and_world_size,
    union_in_order,
)

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("callbacks", "command_line", "datamodules", "experiments", "lightning_modules", "metrics", "networks")


def values(rank: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(rank))


# What each of two processes has.
TENSORS = {
    "no dimension": lambda rank: torch.tensor(7 + rank),
    "int64": lambda rank: torch.arange(3 + 2 * rank) - 2**40,
    "float64": lambda rank: values(rank, 5 - rank),
    "float32": lambda rank: values(rank, 4).float(),
    "bfloat16": lambda rank: values(rank, 3 - rank).bfloat16(),
    "bool": lambda rank: values(rank, 9 - 2 * rank) > 0,
    "uint8": lambda rank: torch.arange(rank, 250, 7, dtype=torch.uint8),
    "two dimensions": lambda rank: values(rank, 2 + rank, 4 - rank).float(),
    "not contiguous": lambda rank: values(rank, 3, 2 + rank).T,
    "empty on one": lambda rank: values(rank, 3 * rank, 4).half(),
    "empty on both": lambda rank: torch.empty(0, 2 + rank, dtype=torch.int64),
    "not finite": lambda rank: torch.tensor([float("nan"), float("inf"), -0.0][rank:]),
}
# torchmetrics gathers in the dtype of the tensors, which gloo does not know all of.
COMPARED = ["int64", "float64", "float32", "two dimensions", "not contiguous"]


def failing(records: list[int]) -> int:
    raise ValueError(f"cannot sum {records}")


EXCHANGES = ("all_gather", "all_gather_object", "broadcast", "broadcast_object_list", "gather_object")


def under_nccl(rank: int, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Exchange with a default group that passes for NCCL and loses patience in a second, while rank 0 takes longer."""
    default, backend_of = torch.distributed.group.WORLD, torch.distributed.get_backend
    used, made = [], []

    def watch(name: str, note: Callable[[dict], None]) -> None:
        true = getattr(torch.distributed, name)
        monkeypatch.setattr(torch.distributed, name, lambda *args, **options: note(options) or true(*args, **options))

    def late(records: list[int]) -> int:
        time.sleep(1.5)
        return sum(records)

    monkeypatch.setattr(
        torch.distributed, "get_backend", lambda group=None: "nccl" if group in (None, default) else backend_of(group)
    )
    for name in EXCHANGES:
        watch(name, lambda options: used.append(options["group"]))
    watch("new_group", made.append)
    if rank == 0:
        time.sleep(1.5)
    mine = [torch.full((2,), rank)]
    overwrite_by_first(mine)
    gathered = [int(each) for each in gather_tensors(torch.tensor(rank))]
    exchanged = [gather_objects(rank), gathered, from_first(rank), computed_once([rank], late), mine[0].tolist()]
    backends = {torch.distributed.get_backend(group) for group in used}
    return {"exchanged": exchanged, "backends": backends, "groups": len({id(each) for each in used}), "made": made}


def left_after_the_end() -> tuple[int, bool]:
    """Leave the process group and return how many patient groups are known and whether the last one lives."""
    group = weakref.ref(next(iter(processes._patient.values())))
    torch.distributed.destroy_process_group()
    gc.collect()
    return len(processes._patient), group() is not None


def one_process(rank: int, folder: Path) -> None:
    meeting, patience = f"file://{folder}/meeting", timedelta(minutes=2)
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=patience)
    turned = torch.distributed.new_group([1, 0])
    calls: list[list[int]] = []

    def summed(records: list[int]) -> int:
        calls.append(records)
        return sum(records)

    mine = [torch.full((2,), rank), values(rank, 3)]
    overwrite_by_first(mine)
    found = {
        "place": (in_process_group(), rank_and_world_size(), is_first()),
        "objects": gather_objects({"rank": rank}),
        "of a group": gather_objects(rank, turned),
        "entries": gather_entries({f"image {rank}": rank, "seen by both": rank}),
        "union": union_in_order([["b", "a"], ["c", "a"]][rank]),
        "first": from_first([f"of {rank}"]),
        "computed": computed_once([[1, 2], [30]][rank], summed),
        "nothing to compute": computed_once([], summed),
        "calls": calls,
        "overwritten": mine,
        "tensors": {name: gather_tensors(of_rank(rank)) for name, of_rank in TENSORS.items()},
        "torchmetrics": {name: gather_all_tensors(TENSORS[name](rank)) for name in COMPARED},
    }
    try:
        computed_once([rank], failing)
    except Exception as error:
        found["failure"] = (type(error), str(error))
    found["after a failure"] = gather_objects(rank)
    del turned
    found["left"] = [left_after_the_end()]
    meeting, patience = f"{meeting}-again", timedelta(seconds=1)
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=patience)
    with pytest.MonkeyPatch.context() as monkeypatch:
        found["under NCCL"] = under_nccl(rank, monkeypatch)
    found["left"].append(left_after_the_end())
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return what two processes have found, by rank.

    They are spawned: a forked one hangs in OpenMP where an earlier test has used its threads.
    """
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(one_process, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_all_processes_by_rank(both, name):
    expected = [TENSORS[name](rank) for rank in (0, 1)]
    for found in both:
        assert [part.dtype for part in found["tensors"][name]] == [part.dtype for part in expected]
        for part, wanted in zip(found["tensors"][name], expected, strict=True):
            torch.testing.assert_close(part, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", COMPARED)
def test_tensors_as_torchmetrics_gathers_them(both, name):
    for found in both:
        for part, wanted in zip(found["tensors"][name], found["torchmetrics"][name], strict=True):
            assert part.dtype == wanted.dtype
            assert torch.equal(part, wanted)


def test_who_is_who(both):
    assert [found["place"] for found in both] == [(True, (0, 2), True), (True, (1, 2), False)]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("objects", [{"rank": 0}, {"rank": 1}]),
        ("of a group", [0, 1]),
        ("entries", {"image 0": 0, "image 1": 1, "seen by both": 1}),
        ("union", ["b", "a", "c"]),
        ("first", ["of 0"]),
        ("computed", 33),
        ("nothing to compute", 0),
        ("after a failure", [0, 1]),
    ],
)
def test_every_process_gets_the_same(both, what, expected):
    assert [found[what] for found in both] == [expected, expected]
    if isinstance(expected, dict):
        assert [list(found[what]) for found in both] == [["image 0", "seen by both", "image 1"]] * 2


def test_the_first_process_computes_alone(both):
    assert [found["calls"] for found in both] == [[[1, 2, 30], []], []]


def test_a_failure_of_the_first_process_ends_all(both):
    assert both[0]["failure"] == (ValueError, "cannot sum [0, 1]")
    assert both[1]["failure"][0] is RuntimeError
    assert "first process failed" in both[1]["failure"][1]


def test_tensors_are_overwritten_by_those_of_the_first(both):
    for found in both:
        assert torch.equal(found["overwritten"][0], torch.zeros(2, dtype=torch.int64))
        assert torch.equal(found["overwritten"][1], values(0, 3))


def test_alone():
    tensor = torch.arange(3)
    assert (in_process_group(), rank_and_world_size(), is_first()) == (False, (0, 1), True)
    assert gather_objects("x") == ["x"]
    assert gather_entries({"a": 1}) == {"a": 1}
    assert union_in_order(["b", "a", "b"]) == ["b", "a"]
    assert gather_tensors(tensor)[0] is tensor
    assert from_first("x") == "x"
    assert computed_once([1, 2], sum) == 3
    overwrite_by_first([tensor])
    assert tensor.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="cannot sum"):
        computed_once([1], failing)


def test_nothing_goes_through_nccl_nor_ends_with_its_patience(both):
    for found in [found["under NCCL"] for found in both]:
        assert found["exchanged"] == [[0, 1], [0, 1], 0, 1, [0, 0]]
        assert (found["backends"], found["groups"]) == ({"gloo"}, 1)
        assert found["made"] == [{"backend": "gloo", "timeout": processes.PATIENCE}]
    assert timedelta(hours=24) <= processes.PATIENCE


def test_the_patient_group_goes_with_its_default_group(both):
    for found in both:
        assert found["left"] == [(0, False), (0, False)]  # after either of two default groups


MAY_USE_TORCH_DISTRIBUTED = {"networks/batch_norm.py"}  # a differentiable sum


def test_nobody_asks_torch_for_the_process_group():
    assert processes.__file__ == str(ROOT / "visionscapes" / "processes.py")
    users = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "torch.distributed" in _imports_and_attributes(path)
    }
    assert users == MAY_USE_TORCH_DISTRIBUTED


def _imports_and_attributes(path: Path) -> set[str]:
    """Return the dotted names below torch that a module imports or looks up, cut to two parts."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names.append(ast.unparse(node))
    return {".".join(name.split(".")[:2]) for name in names if name.startswith("torch.")}
