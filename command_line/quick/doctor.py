"""``python cli.py doctor``: what is there for runs, and what is not, in a second and without torch."""

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from importlib import metadata
from pathlib import Path

from command_line.quick.arguments import Arguments
from command_line.quick.texts import columns, size
from visionscapes.bundled import ROOT, configurations
from visionscapes.checksums import SUMS, damage_of

PACKAGE = "visionscapes"
TOLD = ("torch", "torchvision", "pytorch-lightning", "timm", "mmdet", "diffusers", "wandb")
ABILITIES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # that decide how quick a processor is in torch
VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "WANDB_MODE")
LITTLE_SHARED = 1 << 30  # bytes of /dev/shm, below which loaders with several processes fail in containers
LITTLE_DISK = 10 << 30
HUB = ("huggingface.co", 443)
PATIENCE = 0.7  # seconds for an answer of the network
IN_CONFIG = re.compile(r"\$\{oc\.env:DATA_ROOT,data\}/([^\s\"'#,}\]]+)")
SHOWN = 4  # names in a line


@dataclass(frozen=True)
class Observation:
    """A line of the answer.

    Attributes:
        part: what it is about.
        name: of the thing.
        text: what was found.
        remedy: what to do about it; nothing where it is well.
    """

    part: str
    name: str
    text: str
    _: KW_ONLY
    remedy: str = ""


def doctor(words: list[str]) -> str:
    """Return what is there for runs: as text, or as JSON where ``--json`` is asked for.

    Args:
        words: of the command line, behind "doctor".

    Raises:
        UserError: an option that does not exist.
    """
    parser = Arguments(prog="cli.py doctor", description="Say what is there for runs, and what is not.")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs and reports of faults")
    given = parser.parse_args(words)
    reached = _in_background(lambda: reaches(*HUB))
    parts = (versions(), devices(), disks(Path.cwd()), data_sets(os.environ), weights(ROOT), caches(os.environ))
    found = [finding for part in parts for finding in part]
    found += [Observation("variables", name, os.environ[name]) for name in VARIABLES if name in os.environ]
    online = reached()
    offline = "" if online else "give local files of weights, see weights/README.md"
    found.append(Observation("network", HUB[0], "answers" if online else "does not answer", remedy=offline))
    if given.json:
        return json.dumps([asdict(each) for each in found], indent=2)
    return as_text(found)


def as_text(found: list[Observation]) -> str:
    """Return findings as a table, and below it what to do."""
    rows, before = [], ""
    for each in found:
        rows.append([each.part if each.part != before else "", "!" if each.remedy else "", each.name, each.text])
        before = each.part
    remedies = [f"! {each.name} {each.text}: {each.remedy}" for each in found if each.remedy]
    return "\n".join([columns(["", "", "", ""], rows), "", *(remedies or ["nothing is amiss"])])


def versions() -> Iterator[Observation]:
    """Yield the versions of Python, this package and those that it is built on, and which are missing or unfit."""
    yield Observation("versions", "python", f"{platform.python_version()} ({sys.executable})")
    try:
        yield Observation("versions", PACKAGE, f"{metadata.version(PACKAGE)} ({ROOT})")
        wanted = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        yield Observation("versions", PACKAGE, "is not installed", remedy="make setup")
        return
    from packaging.requirements import Requirement

    unfit, needed = [], [Requirement(each) for each in wanted]
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        there = _version(requirement.name)
        if there is None or not requirement.specifier.contains(there, prereleases=True):
            unfit.append(f"{requirement.name} {there or 'is missing'}, wanted {requirement.specifier}")
    for name in TOLD:
        yield Observation("versions", name, _version(name) or "is missing")
    for each in unfit:
        yield Observation("versions", each, "", remedy="make setup, or pip install -c constraints.txt -e .")


def devices() -> Iterator[Observation]:
    """Yield what computes: processor with what makes it quick, memory, GPUs, and SLURM."""
    flags = _flags()
    able = [name for name in ABILITIES if name in flags] or [platform.machine()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Observation("devices", "processor", f"{cores} cores, {', '.join(able)}")
    memory = {key: int(value) << 10 for key, value in _fields(Path("/proc/meminfo"), r"(\w+):\s+(\d+) kB")}
    if "MemTotal" in memory:
        free = size(memory.get("MemAvailable", 0))
        yield Observation("devices", "memory", f"{size(memory['MemTotal'])}, {free} of it free")
    gpus = graphics_processors()
    for number, text in enumerate(gpus):
        yield Observation("devices", f"GPU {number}", text)
    if not gpus:
        yield Observation("devices", "GPU", "none is seen by nvidia-smi")
    if shutil.which("sbatch"):
        yield Observation("devices", "SLURM", "sbatch is there: slurm/train.sbatch")


def graphics_processors() -> list[str]:
    """Return name, memory and driver of every GPU that nvidia-smi sees."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.splitlines() if line.strip()]


def disks(here: Path) -> Iterator[Observation]:
    """Yield how much room there is for runs, and for the processes of loaders."""
    free = shutil.disk_usage(here).free
    little = "" if free > LITTLE_DISK else "runs need more: give --runs_dir"
    yield Observation("disk", "here", f"{size(free)} free", remedy=little)
    if not os.access(here, os.W_OK):
        yield Observation("disk", str(here), "cannot be written to", remedy="give --runs_dir=<folder of yours>")
    shared = Path("/dev/shm")
    if shared.is_dir():
        room = shutil.disk_usage(shared).total
        little = "" if room >= LITTLE_SHARED else "start the container with --ipc=host or --shm-size=8g"
        yield Observation("disk", str(shared), f"{size(room)} for loaders with several processes", remedy=little)


def data_sets(environment: Mapping[str, str]) -> Iterator[Observation]:
    """Yield the files and folders below $DATA_ROOT that configurations name, and whether they are there.

    Args:
        environment: with DATA_ROOT, or data/ in the working directory is meant, as in configurations.
    """
    root = Path(environment.get("DATA_ROOT", "data")).expanduser()
    given = "$DATA_ROOT" if "DATA_ROOT" in environment else "$DATA_ROOT is not set, so data/"
    if not root.is_dir():
        yield Observation("data", given, f"{root.absolute()} is not there: what trains offline needs none")
        return
    yield Observation("data", given, f"{root.absolute()}, {size(shutil.disk_usage(root).free)} free")
    users: dict[str, list[str]] = {}
    for name, file in configurations().items():
        lines = (line.partition(" #")[0] for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
        for path in dict.fromkeys(match for line in lines for match in IN_CONFIG.findall(line)):
            users.setdefault(path, []).append(Path(name).stem)
    for path, names in sorted(users.items()):
        there = "is there" if (root / path).exists() else "-"
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield Observation("data", path, f"{there:<9} {', '.join(names[:SHOWN])}{more}")


def weights(root: Path) -> Iterator[Observation]:
    """Yield whether the weights that come with the code are as they were left.

    Args:
        root: of the code.
    """
    listed = root / "weights" / SUMS
    if not listed.is_file():
        yield Observation("weights", "weights/", f"has no {SUMS}", remedy="check the code out again")
        return
    names = [line.split(maxsplit=1)[1].lstrip("*") for line in listed.read_text().splitlines() if line.strip()]
    wrong = []
    for name in names:
        file = listed.parent / name
        damage = damage_of(file) if file.is_file() else "it is missing"
        wrong += [Observation("weights", name, damage, remedy="check the code out again")] if damage else []
    yield Observation("weights", "weights/", f"{len(names) - len(wrong)} of {len(names)} files are whole")
    yield from wrong


def caches(environment: Mapping[str, str]) -> Iterator[Observation]:
    """Yield what hubs have left on this machine, which needs no network any more.

    Args:
        environment: that may say where.
    """
    home = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
    of_torch = Path(environment.get("TORCH_HOME", "~/.cache/torch")).expanduser() / "hub" / "checkpoints"
    models = [path.name.removeprefix("models--").replace("--", "/") for path in sorted(home.glob("models--*"))]
    files = [path.name for path in sorted(of_torch.glob("*.pt*"))]
    for name, found in (("Hugging Face", models), ("torch hub", files)):
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield Observation("weights", name, f"{', '.join(found[:SHOWN])}{more}" if found else "nothing is kept")


def reaches(host: str, port: int) -> bool:
    """Return whether somebody answers there."""
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def _in_background(asked: Callable[[], bool]) -> Callable[[], bool]:
    """Ask at once, and return what gives the answer; False if there is none in time, for names can take long."""
    answer: list[bool] = []
    thread = threading.Thread(target=lambda: answer.append(asked()), daemon=True)
    thread.start()

    def wait() -> bool:
        thread.join(PATIENCE)
        return bool(answer and answer[0])

    return wait


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _flags() -> set[str]:
    found = _fields(Path("/proc/cpuinfo"), r"(flags)\s*:(.*)")
    return set(found[0][1].split()) if found else set()


def _fields(path: Path, pattern: str) -> list[tuple[str, str]]:
    try:
        return re.findall(pattern, path.read_text())
    except OSError:
        return []
