"""Speed and memory of the ViT analysis of chapter 2, side by side with the plain way of doing the same work.

    python benchmarks/vit_analysis.py [--quick] [--device cpu|cuda] [--only layers aligned ...] [--output FOLDER]

Prints JSON; the full run also writes it to benchmarks/results/. Ratios are ours / plain, medians over rounds that
alternate between the two in one process, because times from different runs on a shared machine say little.
"""

import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.plain_vit import plain_aligned, plain_attention, plain_layers, plain_similarity
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, compare, interleave, peak_memory
from callbacks.vit_analysis.attention_analysis import AttentionAnalysis
from callbacks.vit_analysis.attention_saliency import AttentionSaliency
from callbacks.vit_analysis.feature_similarity import FeatureSimilarity
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from metrics.cka import cka_matrix
from networks.attention_statistics import aligned_attention
from networks.vit_layers import BlockView, LayeredViT


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for."""

    model: str = "vit_small_patch16_224"
    model_args: tuple[tuple[str, int], ...] = ()
    batch: int = 2
    aligned_batch: int = 8
    aligned_batches: int = 8
    aligned_heads: int = 12
    aligned_side: int = 14
    cka_layers: int = 12
    cka_samples: int = 64
    cka_batches: int = 1
    cka_features: int = 64 * 196
    memory_model: str = "vit_base_patch8_224"
    memory_batch: int = 8
    memory_mib: int = 4096
    cost_images: tuple[int, ...] = (4, 8, 16)
    rounds: int = 7
    slow_rounds: int = 3
    device: str = "cpu"


QUICK = Settings(
    model="vit_tiny_patch16_224",
    model_args=(("patch_size", 8), ("img_size", 32), ("embed_dim", 32), ("depth", 3), ("num_heads", 2)),
    aligned_batch=2,
    aligned_batches=2,
    aligned_heads=2,
    aligned_side=5,
    cka_layers=3,
    cka_samples=6,
    cka_batches=2,
    cka_features=10,
    memory_model="vit_tiny_patch16_224",
    memory_batch=4,
    cost_images=(4, 8),
    rounds=2,
    slow_rounds=1,
)


def network(settings: Settings, model: str) -> LayeredViT:
    """Return a ViT with random weights, the same every time: its speed does not depend on them."""
    torch.manual_seed(0)
    return LayeredViT(model, None, dict(settings.model_args)).to(settings.device)


def pictures(settings: Settings, vit: LayeredViT, count: int) -> Tensor:
    """Return noise (count, 3, S, S) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, vit.image_size, vit.image_size, generator=generator).to(settings.device)


def layers(settings: Settings) -> Case:
    """Class token and mean patch token of all blocks: one pass, against one whole pass a block."""
    vit = network(settings, settings.model)
    images = pictures(settings, vit, settings.batch)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def ours(_: int) -> None:
        own: list[tuple[Tensor, Tensor]] = []

        def keep(view: BlockView) -> None:
            own.append((view.cls, view.patches.mean(1)))

        vit.visit(images, [keep])
        found["ours"] = own

    def plain(_: int) -> None:
        found["plain"] = plain_layers(vit, images)

    def difference() -> float:
        pairs = zip(found["ours"], found["plain"], strict=True)
        return max(float((a - b).abs().max()) for one, other in pairs for a, b in zip(one, other, strict=True))

    return Case(ours, plain, difference, reach=0.15)


def aligned(settings: Settings) -> Case:
    """Aligned Aggregated Attention Maps of one block over batches: sums aligned at the end, against query by query.

    The plain way is the official code's, which pastes every query's map summed over the images of a batch.
    """
    side = settings.aligned_side
    generator = torch.Generator().manual_seed(0)
    shape = (settings.aligned_batch, settings.aligned_heads, side**2, side**2)
    batches = [
        torch.randn(shape, generator=generator).softmax(-1).to(settings.device) for _ in range(settings.aligned_batches)
    ]
    found: dict[str, Tensor] = {}

    def ours(_: int) -> None:
        total = torch.zeros_like(batches[0][0])
        for rows in batches:
            total += rows.sum(0)
        found["ours"] = aligned_attention(total[None], (side, side))

    def plain(_: int) -> None:
        found["plain"] = sum(plain_aligned(rows, (side, side)) for rows in batches)  # type: ignore[assignment]

    return Case(ours, plain, lambda: float((found["ours"] - found["plain"]).abs().max()), reach=0.2)


def similarity(settings: Settings) -> Case:
    """CKA of all pairs of layers: Gram matrices once a layer, then all pairs, against all of it for every pair."""
    generator = torch.Generator().manual_seed(0)
    count, samples, size = settings.cka_layers, settings.cka_samples, settings.cka_features
    shared = torch.randn(settings.cka_batches, 1, samples, size, generator=generator)
    features = shared + torch.randn(settings.cka_batches, count, samples, size, generator=generator)
    found: dict[str, Tensor] = {}

    def ours(_: int) -> None:
        grams = torch.stack([torch.stack([(x := layer.double()) @ x.T for layer in batch]) for batch in features])
        found["ours"] = cka_matrix(grams, grams)

    def plain(_: int) -> None:
        found["plain"] = plain_similarity([list(batch) for batch in features])

    return Case(ours, plain, lambda: float((found["ours"] - found["plain"]).abs().max()), reach=0.2)


def watched_pass(vit: LayeredViT, callbacks: list[LayerEvaluation], count: int, batch: int, device: str) -> list[Any]:
    """Let ``count`` images pass in batches, seen by all callbacks at once; returns their states."""
    states = [callback.new_state(vit).to(device) for callback in callbacks]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, vit.image_size, vit.image_size, generator=generator)
    with torch.no_grad():
        for start in range(0, count, batch):
            own = images[start : start + batch].to(device)
            sample = {
                "image": own,
                "mask": own[:, 0] > 0.5,
                "index": torch.arange(start, start + len(own)),
                "dataset": "noise",
            }
            callbacks[0].observe(vit, sample, list(zip(callbacks, states, strict=True)))
    return states


def memory(settings: Settings) -> Case:
    """One batch through all observers, against keeping all attention maps until the pass is over."""
    vit = network(settings, settings.memory_model)
    found: dict[str, list[Tensor]] = {}

    def ours(_: int) -> None:
        callbacks = [AttentionAnalysis(), AttentionSaliency(), FeatureSimilarity()]
        states = watched_pass(vit, callbacks, settings.memory_batch, settings.memory_batch, settings.device)
        arrays = states[0].compute()
        found["ours"] = [torch.from_numpy(arrays[name]) for name in ("cls_map", "aligned", "distance")]

    def plain(_: int) -> None:
        means, sums, distances = plain_attention(vit, pictures(settings, vit, settings.memory_batch))
        queries = settings.memory_batch * vit.grid[0] * vit.grid[1]
        found["plain"] = [means.unflatten(2, vit.grid), sums / queries, distances]

    def difference() -> float:
        pairs = zip(found["ours"], found["plain"], strict=True)
        return max(float((one - other.cpu()).abs().max()) for one, other in pairs)

    return Case(ours, plain, difference, reach=1.0)


CASES = {"layers": layers, "aligned": aligned, "similarity": similarity}


def peak(settings: Settings) -> dict[str, Any]:
    """Return the peak memory of one batch in MiB, on top of the model, and whether it stays below what is aimed at."""
    peaks = peak_memory(memory, (settings,), settings.device)
    return {**peaks, "reach_mib": settings.memory_mib, "reached": peaks["ours_mib"] <= settings.memory_mib}


def cost(settings: Settings) -> dict[str, Any]:
    """Return seconds by number of images, and the exponent of their growth: 1 means in proportion."""
    vit = network(settings, settings.model)
    callbacks: list[LayerEvaluation] = [AttentionAnalysis(), AttentionSaliency()]

    def call(count: int) -> Any:
        return lambda _: watched_pass(vit, callbacks, count, settings.cost_images[0], settings.device)

    times = interleave({str(count): call(count) for count in settings.cost_images}, settings.rounds, settings.device)
    seconds = {count: statistics.median(own.wall) for count, own in times.items()}
    counts, values = np.array(settings.cost_images, float), np.array(list(seconds.values()))
    return {
        "seconds": {count: round(value, 5) for count, value in seconds.items()},
        "exponent": round(float(np.polyfit(np.log(counts), np.log(values), 1)[0]), 3),
        "last_over_proportional": round(float(values[-1] / values[0] / (counts[-1] / counts[0])), 3),
    }


OTHERS = {"memory": peak, "cost": cost}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    parser = parser_of(__doc__, [*CASES, *OTHERS])
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    report = new_report(settings, options.device)
    for name in (name for name in CASES if name in options.only):
        rounds = settings.slow_rounds if name == "similarity" else settings.rounds
        device = "cpu" if name == "similarity" else options.device
        report[name] = compare(CASES[name](settings), rounds, device)
        print(f"{name}: {report[name]['ratio']} of plain (reach {report[name]['reach']})", file=sys.stderr)
    for name in (name for name in OTHERS if name in options.only):
        report[name] = OTHERS[name](settings)
        print(f"{name}: {report[name]}", file=sys.stderr)
    finish(report, "vit-analysis", options)
    return report


if __name__ == "__main__":
    main()
