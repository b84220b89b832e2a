"""Speed and memory of Diff2Lip, side by side with the plain way, and the share of each part of dubbing a video.

    python benchmarks/diff2lip.py [--quick] [--device cpu|cuda] [--threads N] [--only NAME ...] [--output FOLDER]

* sampling: dubbing faces, against one window of five frames at a time with the sound encoded and the conditions put
  together at every step, in float32: the network of configs/diff2lip.yaml ("embedded"), the published one at 64 pixels
  with 32 channels ("small"), and the published one ("released", few frames, two steps).
* training: a step of configs/diff2lip.yaml with all of its losses, against a loop in which the generator runs once for
  each network's loss.
* video: seconds a second of video by part of dubbing it: faces, decoding, audio, network, pasting, codec.
* memory: MiB by which a process grows while it dubs a video of so many minutes, each in a process of its own.

Ratios are ours to plain, medians over rounds that alternate between the ways in one process. Networks are untrained:
what they make does not matter for time.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor, nn
from typing_extensions import override

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.clips import apart, drawn, finds_faces, growth, resident, write
from benchmarks.plain_diff2lip import PlainStep, plain_dub
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, compare
from callbacks.generation.dub_writer import DubWriter
from datamodules.clips.dubbing.videos import VideosToDub
from datamodules.clips.video_chunks import chunk_loader
from lightning_modules.adversarial import frozen
from lightning_modules.diff2lip.module import Diff2Lip

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "diff2lip.yaml"
REACH = 1 / 1.5
ALL_BEGUN = 10**6  # steps after which every loss counts
EMBEDDED: dict[str, Any] = yaml.safe_load(CONFIG.read_text())["model"]["init_args"]
WITHOUT_EXPERTS = {"losses": {"lambda_sync": 0.0, "lambda_perceptual": 0.0, "lambda_gan": 0.0}}
SMALL = {
    "face_size": 64,
    "unet": {"base": 32, "multipliers": (1, 2, 3, 4), "blocks": 1, "attention_levels": (1, 2, 3), "head_channels": 32},
    **WITHOUT_EXPERTS,
}
TINY = {
    "face_size": 32,
    "unet": {"base": 8, "multipliers": (1, 2), "blocks": 1, "attention_levels": (1,), "head_channels": 8},
    "audio": {"width": 4},
    **WITHOUT_EXPERTS,
}


@dataclass(frozen=True)
class Sampled:
    """A network whose sampling is timed.

    Attributes:
        changes: of the defaults of Diff2Lip.
        frames: that are dubbed.
        steps: of DDIM.
    """

    changes: dict[str, Any]
    frames: int
    steps: int


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for."""

    sampling: dict[str, Sampled] = field(
        default_factory=lambda: {
            "embedded": Sampled(EMBEDDED, frames=60, steps=5),
            "small": Sampled(SMALL, frames=30, steps=5),
            "released": Sampled(WITHOUT_EXPERTS, frames=5, steps=2),
        }
    )
    training: dict[str, Any] = field(default_factory=lambda: EMBEDDED)
    clips: int = 10  # of two windows, a step
    rounds: int = 5
    videos: tuple[tuple[int, int], ...] = ((224, 224), (1280, 720))
    seconds: float = 8.0
    drawn: float = 4.0  # seconds that are drawn, and then shown to and fro
    minutes: tuple[float, ...] = (1, 3, 10)
    memory_size: tuple[int, int] = (320, 240)
    device: str = "cpu"


QUICK = Settings(
    sampling={"tiny": Sampled(TINY, frames=7, steps=2)},
    training=EMBEDDED | {"unet": TINY["unet"]},
    clips=2,
    rounds=1,
    videos=((224, 224),),
    seconds=0.4,
    drawn=0.4,
    minutes=(0.01,),
)


class Untrained(Diff2Lip):
    """A Diff2Lip that dubs and learns outside a Trainer, and untrained.

    Attributes:
        taken: steps that it is said to have taken.
    """

    taken = 0

    @override
    def on_predict_start(self) -> None:
        """Dub all the same."""

    @override
    def steps_taken(self) -> int:
        return self.taken

    @override
    def _batches(self) -> int:
        return self.taken

    @override
    def log(self, *args: Any, **kwargs: Any) -> None:
        """Say nothing."""


def untrained(changes: dict[str, Any], steps: int | None = None, device: str = "cpu") -> Untrained:
    """Return a module whose outputs are not all zero."""
    torch.manual_seed(0)
    sampling = changes.get("sampling", {}) | ({} if steps is None else {"steps": steps})
    module = Untrained(**changes | {"sampling": sampling}).to(device)
    with torch.no_grad():
        for parameter in module.generator.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return module


def sampling(settings: Settings) -> dict[str, Any]:
    """Compare two ways of sampling the same frames."""
    return {
        name: compare(sampling_case(one, settings.device), settings.rounds, settings.device)
        for name, one in settings.sampling.items()
    }


def sampling_case(sampled: Sampled, device: str) -> Case:
    """Return both ways of dubbing the same faces."""
    module = untrained(sampled.changes, sampled.steps, device).eval()
    faces, reference = torch.rand(2, sampled.frames, 3, module.face_size, module.face_size, device=device)
    mel = torch.randn(sampled.frames, 80, 16, device=device)
    made: dict[str, Tensor] = {}

    def ours(_: int) -> None:
        made["ours"] = module.dub(faces, reference, mel).patches

    def plain(_: int) -> None:
        made["plain"] = plain_dub(module, faces, reference, mel)

    return Case(ours, plain, difference=lambda: float((made["ours"] - made["plain"]).abs().max()), reach=REACH)


def training(settings: Settings) -> dict[str, Any]:
    """Compare two ways of a training step."""
    return compare(training_case(settings), settings.rounds, settings.device)


def training_case(settings: Settings) -> Case:
    """Return both ways of a training step; the generator has seen other discriminators, so nothing is compared."""
    module = untrained(settings.training, device=settings.device).train()
    module.taken = ALL_BEGUN
    module.call_experts()
    batch = training_batch(settings.clips, module.face_size, settings.device)
    theirs = PlainStep(module)
    adam = module.optimizer
    networks = [each for each in (module.generator, module.discriminator) if isinstance(each, nn.Module)]
    optimizers = [torch.optim.Adam(each.parameters(), adam.lr, (adam.beta1, adam.beta2)) for each in networks]

    def ours(_: int) -> None:
        windows = module.windows_of(batch)
        denoised = module.denoise(windows)
        losses = module.discriminator_losses(windows, denoised.frames)
        with frozen(module.discriminator):
            losses |= module.generator_losses(windows, denoised)
        torch.stack(list(losses.values())).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if module.average is not None:
            module.average.update_parameters(module.generator)

    return Case(ours, lambda _: theirs(batch), difference=lambda: 0.0, reach=REACH)


def training_batch(clips: int, size: int, device: str) -> dict[str, Any]:
    """Return a batch of two windows a clip, of noise."""
    shape = (clips, 2, 5)
    return {
        "task": "sync",
        "faces": torch.rand(*shape, 3, size, size, device=device),
        "mel": torch.randn(clips, 2, 80, 16, device=device),
        "frame_mel": torch.randn(*shape, 80, 16, device=device),
        "landmarks": size * torch.rand(*shape, 68, 2, device=device),
    }


def video(settings: Settings) -> dict[str, Any]:
    """Return seconds a second of video by part, for each size of the pictures."""
    if not finds_faces():
        return {}
    person, found = drawn(settings.drawn), {}
    with tempfile.TemporaryDirectory() as folder:
        for size in settings.videos:
            path = write(Path(folder) / "talk.mp4", person, size, settings.seconds)
            record = dubbed(path, settings.device)
            spent = {part: round(each / settings.seconds, 4) for part, each in record["seconds"].items()}
            found[f"{size[0]}x{size[1]}"] = spent | {"frames_a_second": record["frames_a_second"]}
    return found


def dubbed(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Dub a video with its own sound, and return what is told about it."""
    module = untrained(EMBEDDED)
    writer = Recording()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=1,
            default_root_dir=folder,
            callbacks=[writer],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.predict(module, chunk_loader(VideosToDub([path], face_size=module.face_size)))
    return writer.record


class Recording(DubWriter):
    """Keeps what it writes about the last video."""

    @override
    def conclude(self, trainer: pl.Trainer, records: Any) -> None:
        (self.record,) = records.values()


def memory(settings: Settings) -> dict[str, float]:
    """Return by how many MiB a process grows, by minutes of video."""
    if not finds_faces():
        return {}
    person, found = drawn(settings.drawn), {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in settings.minutes:
            path = write(Path(folder) / f"{minutes}.mp4", person, settings.memory_size, minutes * 60)
            found[str(minutes)] = apart(grown, str(path))
            print(f"{minutes} minutes: {found[str(minutes)]} MiB", file=sys.stderr)
    return found


def grown(path: str) -> float:
    """Return by how many MiB this process grows while it dubs a video."""
    torch.set_num_threads(1)
    before = resident()
    dubbed(Path(path))
    return growth(before)


PARTS: dict[str, Callable[[Settings], Any]] = {
    "sampling": sampling,
    "training": training,
    "video": video,
    "memory": memory,
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    options = parser_of(__doc__, list(PARTS)).parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = QUICK if options.quick else Settings(device=options.device)
    report = new_report(settings, options.device)
    for name in options.only:
        report[name] = PARTS[name](settings)
    finish(report, "diff2lip", options)
    return report


if __name__ == "__main__":
    main()
