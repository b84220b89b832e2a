"""Speed of Gen2Det's training and of its filter.

    python benchmarks/gen2det.py [--quick] [--device cpu|cuda] [--only real generated filter pasting] [--output FOLDER]

* real: a step of ``lightning_modules.Gen2Det`` on real pictures against one of the plain detector, forward, backward
  and optimiser.
* generated: the same on generated pictures, whose background is ignored; a fifth of the batches of a training are such.
* filter: pictures a second that the filter scores and looks for objects in, eight a batch, against one at a time.
* pasting: loading a batch and a step on it, generated pictures read from files, against pictures that objects are
  pasted onto as they are loaded, as X-Paste does; the thesis gives 3.4 and 3.5 times (7.1, 7.3.2), of other networks.
  Generating the pictures once before is not in it: how long that takes is the inpainter's.

Ratios are ours / plain, medians over rounds that alternate between the two in one process, because times from different
runs on a shared machine say little.
"""

import copy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import interleave, summary
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.given import GivenScenes
from datamodules.detection.object_folder import ObjectFolder
from datamodules.detection.prediction import collate_to_detect
from datamodules.detection.scenes import NAMES, DetectionScenes
from lightning_modules.detector import Detector
from lightning_modules.gen2det.filtering_module import GeneratedPictureFilter
from lightning_modules.gen2det.module import Gen2Det
from networks.image_scores import Contrast
from networks.inpainting import PictureLayout
from networks.object_pasting import ObjectPasting
from visionscapes.files import atomic_write

SCENES = "configs/detectors/faster_rcnn_scenes.py"
POOL = 10  # pictures of objects of every class
PASTED = 10  # objects a picture: X-Paste pastes up to twenty


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for."""

    config: str = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
    image_size: int = 320
    object_size: int = 512  # of the pictures of objects, as Stable Diffusion makes them
    batch: int = 2
    filtered: int = 8
    rounds: int = 11
    device: str = "cpu"


QUICK = Settings(config=SCENES, image_size=64, object_size=32, filtered=4, rounds=2)


def world(settings: Settings) -> DetectionScenes:
    """Return scenes, set up for training."""
    data = DetectionScenes(
        scenes=max(8, settings.filtered),
        test_scenes=1,
        image_size=settings.image_size,
        batch_size=settings.batch,
    )
    data.setup("fit")
    return data


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG."""
    with atomic_write(path) as file:
        picture.save(file, "PNG")


def moved(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """Return a batch with its lists of tensors on a device."""
    return {
        key: [each.to(device) for each in value] if isinstance(value, list) and torch.is_tensor(value[0]) else value
        for key, value in batch.items()
    }


def stepper(module: Detector, batches: Callable[[], dict[str, Any]], device: str) -> Callable[[int], None]:
    """Return a function that takes a training step on a batch."""
    module.to(device).train()
    optimizer = torch.optim.SGD((p for p in module.parameters() if p.requires_grad), lr=1e-5)

    def take(_: int) -> None:
        losses = module.losses(moved(batches(), device))
        optimizer.zero_grad()
        torch.stack([value for name, value in losses.items() if "loss" in name]).sum().backward()
        optimizer.step()

    return take


def step(settings: Settings, generated: bool) -> dict[str, Any]:
    """Return the time of a step of Gen2Det over one of the plain detector that starts from the same weights.

    On generated pictures the two do different work on purpose, so that there are no results to compare.
    """
    batch = next(iter(world(settings).train_dataloader()))
    batch["synthetic"] = [generated] * len(batch["image"])
    plain = Detector(settings.config, num_classes=len(NAMES))
    ours = Gen2Det(settings.config, num_classes=len(NAMES))
    ours.detector.load_state_dict(copy.deepcopy(plain.detector.state_dict()))
    variants = {
        "ours": stepper(ours, lambda: batch, settings.device),
        "plain": stepper(plain, lambda: batch, settings.device),
    }
    times = interleave(variants, settings.rounds, settings.device)
    report = summary(times["ours"], times["plain"], 1.05, float("nan"))
    return {name: value for name, value in report.items() if name != "difference"}


def filtering(settings: Settings) -> dict[str, Any]:
    """Return the time of filtering pictures a batch at a time over that of one at a time, and pictures a second."""
    images = world(settings).training_images()[: settings.filtered]
    module = GeneratedPictureFilter(image_score=Contrast(), instances=False)
    module.judge = Detector(settings.config, num_classes=len(NAMES))
    module.to(settings.device).eval()
    module._labels = {label: label for label in range(len(NAMES))}
    inputs = GivenScenes(size=settings.image_size, longest=2 * settings.image_size)

    def batch_of(items: list[AnnotatedImage]) -> dict[str, Any]:
        pixels = [np.ascontiguousarray(item.read()) for item in items]
        detect = collate_to_detect([inputs.sample(Image.fromarray(each)) for each in pixels])
        return {
            "task": "filter",
            "image": [torch.from_numpy(each).permute(2, 0, 1).to(settings.device) for each in pixels],
            "detect": moved(detect, settings.device),
            "name": [str(item.image_id) for item in items],
            "size": [item.size for item in items],
            "boxes": [item.boxes for item in items],
            "labels": [item.labels for item in items],
        }

    found: dict[str, list[float]] = {}

    def run(name: str, size: int) -> Callable[[int], None]:
        batches = [batch_of(list(images[place : place + size])) for place in range(0, len(images), size)]

        def take(_: int) -> None:
            with torch.inference_mode():
                made = [each for batch in batches for each in module.predict_step(batch, 0)]
            found[name] = [float(value) for each in made for value in (each.score, *each.seen)]

        return take

    variants = {"ours": run("ours", settings.filtered), "plain": run("plain", 1)}
    times = interleave(variants, settings.rounds, settings.device)
    apart = float(np.abs(np.array(found["ours"]) - np.array(found["plain"])).max())
    report = summary(times["ours"], times["plain"], 1.0, apart)
    speed = len(images) / float(np.median(times["ours"].wall))
    return report | {"pictures_a_second": round(speed, 2)}


def pasting(settings: Settings) -> dict[str, Any]:
    """Return the time of loading and training on generated pictures over that on pictures pasted as they are loaded."""
    data = world(settings)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in NAMES:
            (folder / "objects" / each).mkdir(parents=True)
            for k in range(POOL):
                side = settings.object_size
                pixels = rng.integers(0, 255, (side // 8, side // 8, 4), dtype=np.uint8)
                save(Image.fromarray(pixels).resize((side, side)), folder / "objects" / each / f"{k}.png")
        generated = []
        for k, item in enumerate(data.training_images()):
            save(Image.fromarray(item.read()), folder / f"{k}.png")
            generated.append(folder / f"{k}.png")
        paster = ObjectPasting(ObjectFolder(str(folder / "objects")))
        batch = next(iter(data.train_dataloader()))

        def read() -> dict[str, Any]:
            chosen = rng.integers(len(generated), size=settings.batch)
            images = [torch.from_numpy(np.array(Image.open(generated[k]))).permute(2, 0, 1) for k in chosen]
            return batch | {"image": images, "synthetic": [True] * settings.batch}

        def paste() -> dict[str, Any]:
            images = []
            for image in read()["image"]:
                corners = rng.uniform(0, 0.7, (PASTED, 2))
                boxes = np.hstack([corners, corners + 0.25]) * settings.image_size
                names = tuple(NAMES[k] for k in rng.integers(len(NAMES), size=PASTED))
                layout = PictureLayout(image, torch.from_numpy(boxes).float(), names)
                images.append(paster.inpaint(layout, int(rng.integers(2**31))).image)
            return batch | {"image": images}

        variants = {
            "ours": stepper(Gen2Det(settings.config, num_classes=len(NAMES)), read, settings.device),
            "plain": stepper(Detector(settings.config, num_classes=len(NAMES)), paste, settings.device),
        }
        times = interleave(variants, settings.rounds, settings.device)
    report = summary(times["ours"], times["plain"], 1.0, float("nan"))
    return {name: value for name, value in report.items() if name != "difference"}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    names = ["real", "generated", "filter", "pasting"]
    options = parser_of(__doc__, names).parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    report = new_report(settings, options.device)
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "real": lambda: step(settings, generated=False),
        "generated": lambda: step(settings, generated=True),
        "filter": lambda: filtering(settings),
        "pasting": lambda: pasting(settings),
    }
    for name in (name for name in cases if name in options.only):
        torch.manual_seed(0)
        # Gradients of untrained backbones become so small that a processor takes several times as long for each number.
        torch.set_flush_denormal(True)
        try:
            report[name] = cases[name]()
        finally:
            torch.set_flush_denormal(False)
        print(f"{name}: {report[name]}", file=sys.stderr)
    finish(report, "gen2det", options)
    return report


if __name__ == "__main__":
    main()
