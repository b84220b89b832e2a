"""Speed and memory of LiFT, side by side with the plain way of doing the same work.

    python benchmarks/lift.py [--quick] [--device cpu|cuda] [--only training matching ...] [--output FOLDER]

Prints JSON; the full run also writes it, and a plot of cost against image size, to benchmarks/results/. Ratios are
ours / plain, medians over rounds that alternate between the two in one process, because times from different runs on
a shared machine say little.
"""

import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.plain import PlainKeys, plain_box, plain_loss, plain_match
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, Times, compare, interleave, peak_memory, summary, synchronise
from callbacks.results.figures import save_figure
from callbacks.run.feature_file import Layout, read_rows, write_rows
from datamodules.procedural.scenes.scenes import render_scene
from lightning_modules.lift.module import LiFT, Views
from networks.correspondence import match_keypoints
from networks.dense import AtLargerImage
from networks.lift_block import Lifted
from networks.tokencut import discover_box
from networks.vit_features import ViTFeatures

EMBEDDED = {"patch_size": 8, "img_size": 128, "embed_dim": 128, "depth": 4, "num_heads": 4}


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for."""

    model: str = "vit_small_patch16_224.dino"
    model_args: tuple[tuple[str, int], ...] = ()
    image: int = 448
    batch: int = 2
    cells: int = 56
    loop_steps: int = 60
    loop_batch: int = 16
    loop_image: int = 128
    cost_images: tuple[int, ...] = (112, 224, 336, 448, 560, 672)
    rounds: int = 9
    slow_rounds: int = 3
    device: str = "cpu"


QUICK = Settings(
    model="vit_tiny_patch16_224",
    model_args=(("patch_size", 8), ("img_size", 64), ("embed_dim", 32), ("depth", 2), ("num_heads", 2)),
    image=64,
    cells=12,
    loop_steps=6,
    loop_batch=2,
    loop_image=32,
    cost_images=(32, 64),
    rounds=2,
    slow_rounds=1,
)


def backbone(settings: Settings) -> ViTFeatures:
    """Return the ViT with random weights, the same every time: its speed does not depend on them."""
    torch.manual_seed(0)
    return ViTFeatures(settings.model, weights=None, model_args=dict(settings.model_args)).to(settings.device)


def images(settings: Settings, side: int, count: int) -> Tensor:
    """Return scenes (count, 3, side, side) in [0, 1]."""
    scenes = [torch.from_numpy(render_scene(0, index, side).image) for index in range(count)]
    return (torch.stack(scenes).permute(0, 3, 1, 2).float() / 255).contiguous().to(settings.device)


def training(settings: Settings) -> Case:
    """One optimiser step on three scales: attention kernels and a ViT that stops at the keys, against whole passes."""
    x = images(settings, settings.image, settings.batch)
    modules = [LiFT(backbone(settings), downscale="decimate").to(settings.device).train() for _ in range(2)]
    modules[1].block.load_state_dict(modules[0].block.state_dict())
    keys = PlainKeys(modules[1].backbone)
    optimisers = [module.configure_optimizers() for module in modules]

    def step(k: int, loss: Tensor) -> float:
        optimisers[k].zero_grad()
        loss.backward()
        optimisers[k].step()
        return float(loss.detach())

    losses: tuple[list[float], list[float]] = ([], [])
    return Case(
        ours=lambda _: losses[0].append(step(0, modules[0].reconstruction(modules[0].views(x)))),
        plain=lambda _: losses[1].append(step(1, plain_loss(keys, modules[1].block, x))),
        difference=lambda: abs(losses[0][0] - losses[1][0]),  # of the first step; later ones drift apart by rounding
        reach=0.75,
    )


def frozen(settings: Settings) -> Case:
    """One optimiser step of the embedded sizes with frozen features read from their file, against computing them."""
    small = Settings(model="vit_tiny_patch16_224", model_args=tuple(EMBEDDED.items()), device=settings.device)
    x = images(settings, settings.loop_image, 2 * settings.loop_batch)
    modules = [LiFT(backbone(small)).to(settings.device).train() for _ in range(2)]
    modules[1].block.load_state_dict(modules[0].block.state_dict())
    optimisers = [module.configure_optimizers() for module in modules]
    views = modules[0].views(x)
    layout, folder = Layout(views), tempfile.TemporaryDirectory()
    path = Path(folder.name, "a.features")
    write_rows(path, [layout.pack(views)])
    rows = read_rows(path, len(x), layout.row)
    assert rows is not None
    losses: tuple[list[float], list[float]] = ([], [])

    def kept() -> Views:
        assert folder  # is deleted with the last reference to it
        return tuple(each.to(settings.device) for each in layout.unpack(rows[torch.arange(len(x))]))  # type: ignore[return-value]

    def step(k: int, of_images: Views) -> None:
        optimisers[k].zero_grad()
        loss = modules[k].reconstruction(of_images)
        loss.backward()
        optimisers[k].step()
        losses[k].append(float(loss.detach()))

    return Case(
        ours=lambda _: step(0, kept()),
        plain=lambda _: step(1, modules[1].views(x)),
        difference=lambda: max(abs(a - b) for a, b in zip(*losses, strict=True)),
        reach=0.7,
    )


def matching(settings: Settings) -> Case:
    """Keypoint correspondence of one pair: grid products enlarged, against two enlarged feature maps."""
    generator = torch.Generator().manual_seed(0)
    side = settings.image
    source, target = torch.randn(2, 384, side // 8, side // 8, generator=generator).to(settings.device)
    keypoints = (torch.rand(12, 2, generator=generator) * side).to(settings.device)
    arguments = (source, target, keypoints, (side, side))

    def difference() -> float:
        """How much worse our pixels score than the best ones. Pixels themselves differ where scores are equal."""
        scores, best = plain_match(*arguments)
        column, row = match_keypoints(*arguments)[0].long().unbind(1)
        return float((best - scores[torch.arange(len(row)), row, column]).abs().max())

    return Case(lambda _: match_keypoints(*arguments), lambda _: plain_match(*arguments), difference, reach=0.5)


def tokencut(settings: Settings) -> Case:
    """One object of an image: Lanczos iterations, against a dense eigen-decomposition; another image every round."""
    cells, patch = settings.cells, 8
    projection = torch.randn(64, 3 * patch * patch, generator=torch.Generator().manual_seed(0))
    scenes = images(Settings(), cells * patch, settings.slow_rounds)
    pixels = nn.functional.unfold(scenes, patch, stride=patch)
    features = (projection @ (pixels - pixels.mean(2, keepdim=True))).unflatten(2, (cells, cells))
    size, boxes = (cells * patch, cells * patch), {}

    def ours(n: int) -> None:
        boxes["ours", n] = discover_box(features[n], size, tau=0.2)

    def plain(n: int) -> None:
        boxes["plain", n] = torch.from_numpy(plain_box(features[n], size, tau=0.2))

    def difference() -> float:
        return max(float((box - boxes["ours", n]).abs().max()) for (name, n), box in boxes.items() if name == "plain")

    return Case(ours, plain, difference, reach=0.1)


def tokencut_coarse(settings: Settings) -> Case:
    """The same on half the grid, 28 x 28: what a ViT with patch 8 sees in 224 pixels."""
    coarse = replace(settings, cells=settings.cells // 2, slow_rounds=settings.rounds)
    return replace(tokencut(coarse), reach=0.25)


def loop(settings: Settings) -> dict[str, Any]:
    """Compare training steps of the embedded sizes in Lightning's Trainer, with the CSV log, and in a bare loop.

    Within one run, a bare step follows every step of Trainer's. Trainer's lasts from the end of one bare step to the
    beginning of the next, everything that it does around a step included.
    """
    from pytorch_lightning import Callback, Trainer
    from pytorch_lightning.loggers import CSVLogger

    small = Settings(model="vit_tiny_patch16_224", model_args=tuple(EMBEDDED.items()), device=settings.device)
    modules = [LiFT(backbone(small)).to(settings.device).train() for _ in range(2)]
    modules[1].block.load_state_dict(modules[0].block.state_dict())
    optimiser = modules[1].configure_optimizers()
    batch = {"task": "images", "image": images(settings, settings.loop_image, settings.loop_batch)}
    batches: DataLoader = DataLoader([batch] * settings.loop_steps, batch_size=None)  # type: ignore[arg-type]
    again = iter(batches)
    ours, plain = Times([], []), Times([], [])
    ends: list[tuple[float, float]] = []

    def now() -> tuple[float, float]:
        synchronise(settings.device)
        return time.perf_counter(), time.process_time()

    def bare() -> None:
        optimiser.zero_grad()
        modules[1].reconstruction(modules[1].views(next(again)["image"])).backward()
        optimiser.step()

    class TakeTurns(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            start = now()
            bare()
            end = now()
            if len(ends) > 2:  # the first steps allocate memory
                ours.add(ends[-1], start)
                plain.add(start, end)
            ends.append(end)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(
            max_epochs=1,
            accelerator="gpu" if settings.device == "cuda" else "cpu",
            devices=1,
            logger=CSVLogger(folder, name=""),
            log_every_n_steps=10,
            callbacks=[TakeTurns()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(modules[0], batches)
    pairs = zip(modules[0].block.parameters(), modules[1].block.parameters(), strict=True)
    difference = max(float((a - b).detach().abs().max()) for a, b in pairs)
    return summary(ours, plain, reach=1.05, difference=difference)


CASES = {
    "training": training,
    "frozen": frozen,
    "matching": matching,
    "tokencut": tokencut,
    "tokencut_coarse": tokencut_coarse,
}


def cost(settings: Settings) -> dict[str, dict[str, float]]:
    """Return seconds per image by image side: the ViT, with LiFT, and at twice the side, which gives LiFT's grid."""
    module = LiFT(backbone(settings)).to(settings.device).eval()
    nets = {
        "ViT": module.backbone,
        "ViT + LiFT": Lifted(module.backbone, module.block),
        "ViT at 2S": AtLargerImage(module.backbone),
    }
    table: dict[str, dict[str, float]] = {name: {} for name in nets}
    with torch.inference_mode():
        for side in settings.cost_images:
            x = images(settings, side, 1)
            calls = {name: (lambda _, net=net, x=x: net(x)) for name, net in nets.items()}
            rounds = settings.rounds if side <= 448 else settings.slow_rounds
            for name, times in interleave(calls, rounds, settings.device).items():
                table[name][str(side)] = round(statistics.median(times.wall), 5)
    return table


def accelerated(settings: Settings) -> dict[str, dict[str, float]]:
    """Return seconds and loss of a training step in float32 and with what a GPU is faster with."""

    def variant(dtype: torch.dtype | None, memory_format: torch.memory_format, compiled: bool) -> Any:
        module = LiFT(backbone(settings)).to(settings.device).train()
        module.backbone.to(memory_format=memory_format)
        module.block.to(memory_format=memory_format)
        optimiser = module.configure_optimizers()
        x = images(settings, settings.image, settings.batch).to(memory_format=memory_format)
        reconstruction = torch.compile(module.reconstruction) if compiled else module.reconstruction
        views = torch.compile(module.views) if compiled else module.views

        def step(_: int) -> None:
            optimiser.zero_grad()
            with torch.autocast(settings.device, dtype, enabled=dtype is not None):
                loss = reconstruction(views(x))
            loss.backward()
            optimiser.step()
            losses.setdefault(name, float(loss.detach()))

        return step

    losses: dict[str, float] = {}
    options = {
        "float32": (None, torch.contiguous_format, False),
        "bf16": (torch.bfloat16, torch.contiguous_format, False),
        "bf16, channels last": (torch.bfloat16, torch.channels_last, False),
        "bf16, channels last, compiled": (torch.bfloat16, torch.channels_last, True),
    }
    results = {}
    for name, option in options.items():
        times = interleave({name: variant(*option)}, settings.rounds, settings.device)[name]
        results[name] = {"step_s": round(statistics.median(times.wall), 5), "first_loss": round(losses[name], 4)}
    return results


OTHERS = {"loop": loop, "cost": cost, "accelerated": accelerated}


def plot(table: dict[str, dict[str, float]], title: str, path: Path) -> None:
    """Draw cost against image size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (name, seconds), marker in zip(table.items(), "os^", strict=True):
        axes.plot([int(side) for side in seconds], list(seconds.values()), marker=marker, label=name)
    axes.set(xlabel="image side S (pixels)", ylabel="seconds per image", yscale="log", title=title)
    axes.set_xticks([int(side) for side in seconds])
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    save_figure(figure, path, dpi=120)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", default=[*CASES, "loop", "cost"], choices=[*CASES, *OTHERS])
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory: it takes new processes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    only = [*options.only, *(["accelerated"] if options.device == "cuda" and "accelerated" not in options.only else [])]
    report = new_report(settings, options.device)
    for name in (name for name in CASES if name in only):
        rounds = settings.slow_rounds if name == "tokencut" else settings.rounds
        device = "cpu" if name.startswith("tokencut") else options.device
        report[name] = compare(CASES[name](settings), rounds, device)
        if not options.no_memory:
            report[name]["peak_memory"] = peak_memory(CASES[name], (settings,), device)
        print(f"{name}: {report[name]['ratio']} of plain (reach {report[name]['reach']})", file=sys.stderr)
    for name in (name for name in OTHERS if name in only):
        report[name] = OTHERS[name](settings)
    folder = finish(report, "lift", options)
    if folder is not None and "cost" in report:
        plot(report["cost"], f"{report['hardware']['device']}, {report['date']}", folder / "lift_cost.png")
    return report


if __name__ == "__main__":
    main()
