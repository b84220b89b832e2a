"""Speed and memory of training GRIT, side by side with the plain way, and what inference and large images cost.

    python benchmarks/grit.py [--quick] [--device cpu|cuda] [--only NAME ...] [--largest PIXELS] [--output FOLDER]

* step: a training step of configs/grit.yaml under Lightning, with everything around it, against a bare loop that
  passes through the generator twice, takes the penalty of every batch and computes in float32. The two take turns.
* breakdown: the bare loop with one thing changed at a time, and with all; channels last and the compiled generator,
  which are part of neither, on CUDA alone.
* memory: the largest need of a step with a penalty.
* inference: images a second by batch size.
* resolution: seconds of a training step by resolution, with networks of few channels and the same depth for all, and
  the exponent of their growth by pixels. Those above --largest are not run.

Times of training are means over as many steps as there are from one penalty to the next. Ratios are those to the plain
way, medians over rounds that alternate between the ways in one process.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.plain_grit import Arrangement, BareLoop
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, breakdown_of, interleave, peak_memory, steps_of, synchronise
from benchmarks.turns import TakingTurns, bare_trainer
from datamodules.translation.face_world import FaceWorld
from lightning_modules.grit.module import GRIT

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "grit.yaml"
REACH = 0.7
NARROW = {"generator": {"base": 8, "most": 32}, "discriminator": {"base": 2048}}


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for.

    Attributes:
        changes: of the model in configs/grit.yaml.
        batch: images a step.
        batches: in an epoch.
        rounds: of as many steps as there are from one penalty to the next.
        inference: batch sizes.
        resolutions: in pixels, with networks of ``narrow`` and batches of ``few`` images.
        largest: of the resolutions.
        device: "cpu" or "cuda".
    """

    changes: dict[str, Any] = field(default_factory=dict)
    batch: int = 16
    batches: int = 8
    rounds: int = 3
    inference: tuple[int, ...] = (1, 4, 16, 64)
    resolutions: tuple[int, ...] = (64, 128, 256, 512)
    narrow: dict[str, Any] = field(default_factory=lambda: NARROW)
    few: int = 2
    largest: int = 512
    device: str = "cpu"


TINY = {
    "image_size": 32,
    "generator": {"base": 4, "most": 8, "downs": 2, "style_dim": 8},
    "discriminator": {"base": 128},
}
QUICK = Settings(
    changes=TINY | {"adversarial": {"penalty_every": 2}},
    batch=2,
    batches=2,
    rounds=2,
    inference=(1, 2),
    resolutions=(32, 64, 128),
    narrow=TINY,
    largest=64,
)


def configured() -> dict[str, Any]:
    """Return the content of configs/grit.yaml."""
    return yaml.safe_load(CONFIG.read_text())


def model(settings: Settings, **changes: Any) -> GRIT:
    """Return the model of configs/grit.yaml, with the same weights every time."""
    torch.manual_seed(0)
    options = configured()["model"]["init_args"]
    for name, value in [*settings.changes.items(), *changes.items()]:
        options[name] = options.get(name, {}) | value if isinstance(value, dict) else value
    return GRIT(**options).to(settings.device)


def faces(settings: Settings, image_size: int, batch: int) -> FaceWorld:
    """Return the data: a few batches of drawn faces."""
    data = FaceWorld(batch * settings.batches, 1, image_size, batch_size=batch)
    data.setup("fit")
    return data


def step(settings: Settings) -> dict[str, Any]:
    """Return the time of a step under Lightning over that of the plain way; "difference" is that of the first losses.

    The adversarial loss is not compared: in the plain way the discriminator has stepped before.
    """
    module = model(settings)
    every = module.adversarial.penalty_every
    data = faces(settings, module.hparams["image_size"], settings.batch)
    bare = BareLoop(module, data.train_dataloader())
    turns = TakingTurns(bare, every, compared=("discriminator", "reconstruction", "style"), device=settings.device)
    bare_trainer(every * (settings.rounds + 1), turns, device=settings.device).fit(module, datamodule=data)
    return turns.result(REACH)


def arrangements(settings: Settings, every: int) -> dict[str, Arrangement]:
    """Return the plain way, with one thing changed at a time, and with all that configs/grit.yaml changes."""
    together = Arrangement(1, every, True)
    found = {
        "plain": Arrangement(),
        "one forward": Arrangement(forwards=1),
        "lazy penalty": Arrangement(penalty_every=every),
        "bfloat16": Arrangement(bfloat16=True),
        "all three": together,
    }
    if settings.device == "cuda":
        found["all three, channels last"] = replace(together, channels_last=True)
        found["all three, compiled"] = replace(together, compile=True)
        found["all three, channels last, compiled"] = replace(together, channels_last=True, compile=True)
    return found


def breakdown(settings: Settings) -> dict[str, Any]:
    """Return seconds of a step of every arrangement, and their ratios to the plain one."""
    module = model(settings)
    every = module.adversarial.penalty_every
    batches = faces(settings, module.hparams["image_size"], settings.batch).train_dataloader()
    loops = {name: BareLoop(module, batches, each) for name, each in arrangements(settings, every).items()}
    return breakdown_of(loops, every, rounds=settings.rounds, device=settings.device)


def two_steps(settings: Settings) -> Case:
    """Return a step with a penalty and the next one, in which the optimisers hold their moments too, either way."""
    module = model(settings)
    data = faces(replace(settings, batches=2), module.hparams["image_size"], settings.batch)
    loop = BareLoop(module, data.train_dataloader())
    ours = lambda _: bare_trainer(2, device=settings.device).fit(module, datamodule=data)  # noqa: E731
    return Case(ours, steps_of(loop, 2), lambda: 0.0, reach=1.0)


def memory(settings: Settings) -> dict[str, Any]:
    """Return the most MiB that either way needs on top of its networks and data."""
    peaks = peak_memory(two_steps, (settings,), settings.device)
    return {**peaks, "ratio": round(peaks["ours_mib"] / peaks["plain_mib"], 4)}


def inference(settings: Settings) -> dict[str, Any]:
    """Return images a second by precision and batch size."""
    module = model(settings).eval()
    data = faces(replace(settings, batches=1), module.hparams["image_size"], max(settings.inference))
    batch = next(iter(data.train_dataloader()))
    whole = {name: batch[name].to(settings.device) for name in ("labels", "image")}

    def call(count: int, bfloat16: bool) -> Callable[[int], Any]:
        part = {name: value[:count] for name, value in whole.items()}

        @torch.no_grad()
        def generate(_: int) -> None:
            with torch.autocast(settings.device, torch.bfloat16, enabled=bfloat16):
                module.generate(part)

        return generate

    kinds = {(name, count): name == "bfloat16" for name in ("float32", "bfloat16") for count in settings.inference}
    times = interleave({f"{n} {c}": call(c, b) for (n, c), b in kinds.items()}, 2 * settings.rounds, settings.device)
    report: dict[str, Any] = {"float32": {}, "bfloat16": {}}
    for name, count in kinds:
        report[name][str(count)] = round(count / statistics.median(times[f"{name} {count}"].wall), 2)
    return report


def resolution(settings: Settings) -> dict[str, Any]:
    """Return seconds of a step by resolution, and how they grow: an exponent of 1 is in proportion to the pixels."""
    sizes = [size for size in settings.resolutions if size <= settings.largest]
    seconds: dict[str, dict[str, float]] = {}
    for size in sizes:
        module = model(settings, image_size=size, **{k: v for k, v in settings.narrow.items() if k != "image_size"})
        batches: DataLoader = faces(replace(settings, batches=1), size, settings.few).train_dataloader()
        spent: dict[bool, list[float]] = {True: [], False: []}
        loop = BareLoop(module, batches, Arrangement(1, 2, True))
        for number in range(2 * settings.rounds + 2):
            synchronise(settings.device)
            start = time.perf_counter()
            loop.step()
            synchronise(settings.device)
            if number > 1:
                spent[number % 2 == 0].append(time.perf_counter() - start)
        with_penalty, without = (statistics.median(spent[kind]) for kind in (True, False))
        every = module.adversarial.penalty_every
        mean = (with_penalty + (every - 1) * without) / every
        figures = {"mean": mean, "with penalty": with_penalty, "without": without}
        seconds[str(size)] = {name: round(value, 5) for name, value in figures.items()}
    means = [figures["mean"] for figures in seconds.values()]
    exponent = np.polyfit(np.log(np.square(sizes, dtype=float)), np.log(means), 1)[0]
    skipped = [size for size in settings.resolutions if size not in sizes]
    return {"seconds": seconds, "exponent": round(float(exponent), 3), "skipped": skipped}


CASES: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "step": step,
    "breakdown": breakdown,
    "memory": memory,
    "inference": inference,
    "resolution": resolution,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    parser = parser_of(__doc__, list(CASES))
    parser.add_argument("--rounds", type=int, help="rounds that are timed")
    parser.add_argument("--largest", type=int, help="largest resolution, in pixels, that is run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    settings = replace(settings, rounds=options.rounds or settings.rounds, largest=options.largest or settings.largest)
    if sum(size <= settings.largest for size in settings.resolutions) < 2:
        parser.error(f"--largest has to be at least {settings.resolutions[1]}: growth needs two resolutions")
    report = new_report(settings, options.device)
    for name in (name for name in CASES if name in options.only):
        report[name] = CASES[name](settings)
        print(f"{name}: {report[name]}", file=sys.stderr)
    finish(report, "grit", options)
    return report


if __name__ == "__main__":
    main()
