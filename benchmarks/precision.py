"""Speed of a forward and backward pass in bfloat16, side by side with float32: what "precision: auto" decides by.

    python benchmarks/precision.py [--quick] [--device cpu|cuda] [--only NAME ...] [--rounds N] [--output FOLDER]

* grit: the generator's losses of configs/grit.yaml, the discriminator's judgement included, on its batch of its faces.
* plain_cnn: the cross-entropy of the network of configs/gan_discovery.yaml on a batch of noise.

Ratios are bfloat16 / float32, medians over rounds that alternate between the two in one process; the difference is that
of the losses, relative. "chosen" is what the project takes for this hardware, and "right" whether that was quicker.
Another processor is had by ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2; its abilities stand in the file's name.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, compare
from datamodules.translation.face_world import FaceWorld
from lightning_modules.adversarial import frozen
from lightning_modules.gan_discovery.network import AttributionNetwork, AttributionNetworkOptions
from lightning_modules.grit.module import GRIT
from visionscapes.precision import processor_abilities, quick_precision

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SOURCES = 20  # classes of the plain CNN


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those of the configurations.

    Attributes:
        images: of a batch of GRIT.
        noise: images of a batch of the plain CNN.
        size: of either, in pixels.
        rounds: that are timed.
        device: "cpu" or "cuda".
    """

    images: int = 8
    noise: int = 48
    size: int = 64
    rounds: int = 7
    device: str = "cpu"


QUICK = Settings(images=1, noise=2, size=32, rounds=1)


def passes(parameters: list[Tensor], loss: Callable[[], Tensor], device: str) -> Case:
    """Return the case of a loss and its gradients."""
    losses: dict[bool, float] = {}

    def run(bfloat16: bool) -> None:
        for parameter in parameters:
            parameter.grad = None
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            value = loss()
        value.backward()
        losses[bfloat16] = float(value.detach())

    difference = lambda: abs(losses[True] / losses[False] - 1)  # noqa: E731
    return Case(lambda _: run(True), lambda _: run(False), difference, reach=1.0)


def grit(settings: Settings) -> Case:
    """Return the case of the networks of configs/grit.yaml."""
    torch.manual_seed(0)
    options = yaml.safe_load((CONFIGS / "grit.yaml").read_text())["model"]["init_args"]
    module = GRIT(**options | {"image_size": settings.size}).to(settings.device)
    data = FaceWorld(settings.images, 1, settings.size, batch_size=settings.images)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    batch = {name: batch[name].to(settings.device) for name in ("labels", "image")}

    def loss() -> Tensor:
        condition, truth = module.condition(batch), module.to_network(batch["image"])
        with frozen(module.discriminator):
            return sum(module.generator_losses(condition, truth, module.translate(batch, condition, truth)).values())  # type: ignore[return-value]

    return passes(list(module.generator.parameters()), loss, settings.device)


def plain_cnn(settings: Settings) -> Case:
    """Return the case of the network of configs/gan_discovery.yaml."""
    torch.manual_seed(0)
    options = yaml.safe_load((CONFIGS / "gan_discovery.yaml").read_text())["model"]["init_args"]["network"]
    network = AttributionNetwork(AttributionNetworkOptions(**options | {"dropout": 0.0}), SOURCES).to(settings.device)
    images = torch.rand(settings.noise, 3, settings.size, settings.size, device=settings.device)
    labels = torch.arange(settings.noise, device=settings.device) % SOURCES
    loss = lambda: F.cross_entropy(network.logits(network(images)), labels)  # noqa: E731
    return passes(list(network.parameters()), loss, settings.device)


CASES: dict[str, Callable[[Settings], Case]] = {"grit": grit, "plain_cnn": plain_cnn}


def measured(case: Case, settings: Settings) -> dict[str, Any]:
    """Return seconds of either precision, their ratio, and whether the choice for this hardware is right."""
    found = compare(case, settings.rounds, settings.device)
    chosen = quick_precision(settings.device).precision
    return {
        "bfloat16_s": found["ours_s"],
        "float32_s": found["plain_s"],
        **{key: found[key] for key in ("ratio", "ratio_range", "cpu_ratio", "difference", "rounds")},
        "chosen": chosen,
        "right": (found["ratio"] <= 1) == (chosen == "bf16-mixed"),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    parser = parser_of(__doc__, list(CASES))
    parser.add_argument("--rounds", type=int, help="rounds that are timed")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    settings = replace(settings, rounds=options.rounds or settings.rounds)
    report = new_report(settings, options.device)
    for name in (name for name in CASES if name in options.only):
        report[name] = measured(CASES[name](settings), settings)
        print(f"{name}: {report[name]}", file=sys.stderr)
    finish(report, f"precision-{'-'.join(processor_abilities())}".replace("_", "-"), options)
    return report


if __name__ == "__main__":
    main()
