"""Speed and memory of LSR's training and reenacting, against the plain way of doing the same.

    python benchmarks/lsr.py [--quick] [--device cpu|cuda] [--threads N] [--only NAME ...] [--rounds N] [--output DIR]

* step: a training step of configs/lsr.yaml, with Lightning and all that goes with it, against a bare loop that passes
  through encoders and generators twice, encodes a person's shots one after the other, takes both penalties of every
  batch and computes in float32 with the channels first. The two take turns.
* breakdown: the bare loop with one thing changed at a time, and with all.
* memory: the largest need of two steps, the first with penalties.
* inference: frames a second by precision and batch size, with a person's latent codes computed once against once for
  every frame.

Times of training are means over as many steps as there are from one penalty to the next. Ratios are those to the plain
way, medians over rounds that alternate between the ways in one process. Networks are untrained: what they make does not
matter for time.
"""

import statistics
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.plain_lsr import Arrangement, BareLoop
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, breakdown_of, interleave, peak_memory, steps_of
from benchmarks.turns import TakingTurns, bare_trainer
from datamodules.clips.heads.head_world import HeadWorld
from lightning_modules.lsr.module import LSR
from lightning_modules.lsr.network import Latents

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "lsr.yaml"
REACH = 0.7
COMPARED = ("discriminator", "l1", "latent")  # before either network has stepped


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratio is stated for.

    Attributes:
        changes: of the model in configs/lsr.yaml.
        data: changes of the data.
        batches: in an epoch.
        rounds: of as many steps as there are from one penalty to the next.
        inference: batch sizes.
        shots: K of the inference.
        device: "cpu" or "cuda".
    """

    changes: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    batches: int = 8
    rounds: int = 3
    inference: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    shots: int = 4
    device: str = "cpu"


QUICK = Settings(
    changes={
        "image_size": 32,
        "network": {"base": 4, "most": 8, "latent": 8, "levels": 2, "spade_hidden": 4},
        "discriminator": {"base": 128},
        "adversarial": {"penalty_every": 2},
    },
    data={"image_size": 32, "batch_size": 2},
    batches=2,
    rounds=2,
    inference=(1, 2),
    shots=2,
)


def configured() -> dict[str, Any]:
    """Return the content of configs/lsr.yaml."""
    return yaml.safe_load(CONFIG.read_text())


def model(settings: Settings, **changes: Any) -> LSR:
    """Return the model of configs/lsr.yaml, untrained, with the same weights every time."""
    torch.manual_seed(0)
    options = configured()["model"]["init_args"] | {"layout_weights": None}
    for name, value in [*settings.changes.items(), *changes.items()]:
        options[name] = options.get(name, {}) | value if isinstance(value, dict) else value
    return LSR(**options).to(settings.device)


def people(settings: Settings) -> HeadWorld:
    """Return the data of configs/lsr.yaml, a few batches of drawn people."""
    options = configured()["data"]["init_args"] | settings.data
    few = {"people": settings.batches * options.get("batch_size", 8), "val_people": 0, "num_workers": 0}
    data = HeadWorld(**options | few)
    data.setup("fit")
    return data


def step(settings: Settings) -> dict[str, Any]:
    """Return the time of a step under Lightning over that of the plain way; "difference" is that of the first losses.

    The adversarial loss is not compared: in the plain way the discriminator has stepped before.
    """
    module = model(settings)
    every = module.adversarial.penalty_every
    data = people(settings)
    turns = TakingTurns(BareLoop(module, data.train_dataloader()), every, compared=COMPARED, device=settings.device)
    bare_trainer(every * (settings.rounds + 1), turns, device=settings.device).fit(module, datamodule=data)
    return turns.result(REACH)


def arrangements(every: int) -> dict[str, Arrangement]:
    """Return the plain way, with one thing changed at a time, and with all that configs/lsr.yaml changes."""
    return {
        "plain": Arrangement(),
        "one forward": Arrangement(forwards=1),
        "lazy penalties": Arrangement(penalty_every=every),
        "shots together": Arrangement(together=True),
        "bfloat16": Arrangement(bfloat16=True),
        "channels last": Arrangement(channels_last=True),
        "channels last, bfloat16": Arrangement(channels_last=True, bfloat16=True),
        "all": Arrangement(1, every, together=True, bfloat16=True, channels_last=True),
        "all, float32": Arrangement(1, every, together=True),
    }


def breakdown(settings: Settings) -> dict[str, Any]:
    """Return seconds of a step of every arrangement, and their ratios to the plain one."""
    module = model(settings)
    every = module.adversarial.penalty_every
    batches = people(settings).train_dataloader()
    loops = {name: BareLoop(module, batches, each) for name, each in arrangements(every).items()}
    return breakdown_of(loops, every, rounds=settings.rounds, device=settings.device)


def two_steps(settings: Settings) -> Case:
    """Return a step with penalties and the next one, in which the optimisers hold their moments too, either way."""
    module = model(settings)
    data = people(replace(settings, batches=2))
    loop = BareLoop(module, data.train_dataloader())
    ours = lambda _: bare_trainer(2, device=settings.device).fit(module, datamodule=data)  # noqa: E731
    return Case(ours, steps_of(loop, 2), lambda: 0.0, reach=1.0)


def memory(settings: Settings) -> dict[str, Any]:
    """Return the most MiB that either way needs on top of its networks and data."""
    peaks = peak_memory(two_steps, (settings,), settings.device)
    return {**peaks, "ratio": round(peaks["ours_mib"] / peaks["plain_mib"], 4)}


def inference(settings: Settings) -> dict[str, Any]:
    """Return frames a second by precision, way and batch size; "difference" is that of the pictures of both ways."""
    ways = {"once": once, "for every frame": for_every_frame}
    subject = Subject.of(settings)
    kinds = [(p, way, count) for p in ("float32", "bfloat16") for way in ways for count in settings.inference]
    calls = {str(each): _in_precision(each[0], ways[each[1]](subject, each[2]), settings.device) for each in kinds}
    times = interleave(calls, 2 * settings.rounds, settings.device)
    report: dict[str, Any] = {precision: {way: {} for way in ways} for precision in ("float32", "bfloat16")}
    for precision, way, count in kinds:
        spent = statistics.median(times[str((precision, way, count))].wall)
        report[precision][way][str(count)] = round(count / spent, 2)
    most = max(settings.inference)
    with torch.no_grad():
        apart = (once(subject, most)(0) - for_every_frame(subject, most)(0)).abs().max()
    return report | {"shots": settings.shots, "difference": float(apart)}


@dataclass(frozen=True)
class Subject:
    """A person to be reenacted.

    Attributes:
        module: an untrained LSR.
        shots: (K, 3, S, S) in [0, 1].
        drawings: (K, 3, S, S), of the shots' landmarks.
        poses: (T, 3, S, S), drawings of the landmarks of T frames.
        codes: of the person.
    """

    module: LSR
    shots: Tensor
    drawings: Tensor
    poses: Tensor
    codes: Latents

    @classmethod
    @torch.no_grad()
    def of(cls, settings: Settings) -> "Subject":
        """Return a person of noise, for whom the networks take as long as for anybody."""
        module = model(settings, spatial="layout").eval()
        size, generator = module.image_size, torch.Generator().manual_seed(0)

        def noise(count: int) -> Tensor:
            return torch.rand(count, 3, size, size, generator=generator).to(settings.device)

        shots, drawings, poses = noise(settings.shots), noise(settings.shots), noise(max(settings.inference))
        return cls(module, shots, drawings, poses, codes=module.shown.encode(shots[None], drawings[None]))


def once(subject: Subject, count: int) -> Callable[[int], Tensor]:
    """Return what makes so many frames of a person whose codes are known, as ``predict`` does."""

    def reenact(_: int) -> Tensor:
        return subject.module.shown.render(subject.poses[:count], subject.codes.of(count)).image

    return reenact


def for_every_frame(subject: Subject, count: int) -> Callable[[int], Tensor]:
    """Return what makes so many frames of a person whose shots are encoded for every frame."""
    shots, drawings = (each.expand(count, -1, -1, -1, -1) for each in (subject.shots, subject.drawings))

    def reenact(_: int) -> Tensor:
        return subject.module.shown(shots, drawings, subject.poses[:count]).image

    return reenact


def _in_precision(name: str, call: Callable[[int], Tensor], device: str) -> Callable[[int], Tensor]:
    @torch.no_grad()
    def called(number: int) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=name == "bfloat16"):
            return call(number)

    return called


CASES: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "step": step,
    "breakdown": breakdown,
    "memory": memory,
    "inference": inference,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    parser = parser_of(__doc__, list(CASES))
    parser.add_argument("--rounds", type=int, help="rounds that are timed")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    settings = replace(settings, rounds=options.rounds or settings.rounds)
    report = new_report(settings, options.device)
    for name in (name for name in CASES if name in options.only):
        report[name] = CASES[name](settings)
        print(f"{name}: {report[name]}", file=sys.stderr)
    finish(report, "lsr", options)
    return report


if __name__ == "__main__":
    main()
