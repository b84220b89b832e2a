"""Arrays as the analysis leaves them, made up: plausible curves and attention of known heads."""

import numpy as np

from callbacks.vit_analysis.report.arrays import AnalysedModel

METHODS = ["FS", "CLIP", "DINO", "MoCo", "MAE", "BEiT"]
_PEAK = {"FS": 1.0, "CLIP": 0.9, "DINO": 0.85, "MoCo": 0.8, "MAE": 0.55, "BEiT": 0.4}
# Local heads by (layer, head), from 0, of every synthetic model: width in tokens along x and y, offset in tokens.
LOCAL_HEADS = {
    (0, 0): ((0.2, 0.2), (0, 0)),
    (0, 1): ((1.2, 1.2), (0, 0)),
    (1, 0): ((50.0, 0.3), (0, 0)),
    (1, 1): ((0.6, 0.6), (-2, 0)),
}


def seven(**shape) -> list[AnalysedModel]:
    """Return the six methods and Random as the embedded analysis makes them."""
    return [*(model(name, name, seed=i, **shape) for i, name in enumerate(METHODS)), random_model()]


def model(name="FS", method="FS", depth=6, heads=4, grid=(8, 8), seed=0, without=(), data_set="scenes", **counts):
    """Return one model with every protocol except ``without``."""
    rng = np.random.default_rng(seed)
    makers = {
        "attention": lambda: attention(rng, depth, heads, grid, **counts),
        "saliency": lambda: saliency(rng, method, depth, heads, data_set),
        "similarity": lambda: similarity(rng, seed, depth),
        "clustering": lambda: clustering(rng, method, depth),
        "knn": lambda: {"top1": curve(rng, method, depth), "top5": curve(rng, method, depth, 0.3), "k": np.array(20)},
        "retrieval": lambda: {
            f"{data_set}/medium": curve(rng, method, depth),
            f"{data_set}/hard": curve(rng, method, depth) / 2,
        },
        "probe": lambda: {
            **{key: rng.uniform(0.3, 0.9) for key in ("cls", "spatial", "cls_bn", "spatial_bn")},
            "layer": depth,
        },
        "keypoints": lambda: {
            f"PCK@{a}": curve(rng, method, depth) * s for a, s in (("0.1", 0.3), ("0.05", 0.1), ("0.01", 0.01))
        },
        "video": lambda: {key: curve(rng, method, depth) / 2 for key in ("J", "F", "J&F")},
        "dense-video": lambda: {key: curve(rng, method, depth) for key in ("J", "F", "J&F")},
    }
    arrays = {
        protocol: {key: np.asarray(value, dtype=None) for key, value in make().items()}
        for protocol, make in makers.items()
        if protocol not in without
    }
    return AnalysedModel(name, method, depth, heads, 8, 8 * grid[0], grid, arrays)


def random_model(name="Random"):
    """Return noise in place of a model: one layer, no attention, saliency or similarity."""
    one = np.full(1, 0.1)
    arrays = {
        "clustering": {key: np.full((1, 3), 0.1) for key in ("image_cls", "image_spatial", "object", "part")},
        "knn": {"top1": one, "top5": 2 * one},
        "retrieval": {"scenes/medium": one, "scenes/hard": one / 2},
        "keypoints": {f"PCK@{a}": one / 10 for a in ("0.1", "0.05", "0.01")},
        "dense-video": dict.fromkeys(("J", "F", "J&F"), one),
    }
    return AnalysedModel(name, "Random", 1, 1, 8, 64, (8, 8), arrays)


def curve(rng, method, depth, low=0.1):
    """Return values (L,) that rise with depth and, for reconstruction, fall again."""
    at = np.arange(1, depth + 1) / depth
    top = _PEAK.get(method, 0.7)
    values = low + (top - low) * at**1.5 - (0.4 * np.maximum(at - 0.7, 0) if method in ("MAE", "BEiT") else 0)
    return (values + rng.normal(0, 0.01, depth)).astype(np.float32)


def clustering(rng, method, depth):
    keys = ("image_cls", "image_spatial", "object", "part")
    return {key: np.stack([curve(rng, method, depth) * s for s in (1, 0.9, 0.6)], axis=1) for key in keys}


def saliency(rng, method, depth, heads, data_set):
    arrays = {f"{data_set}/images": np.array(100)}
    for token in ("cls", "spatial"):
        per_head = 0.2 + 0.3 * curve(rng, method, depth)[:, None] + rng.normal(0, 0.03, (depth, heads))
        arrays[f"{data_set}/{token}_head"] = per_head
        arrays[f"{data_set}/{token}_best"] = per_head.max(axis=1) + 0.05
    return arrays


def similarity(rng, seed, depth, batches=2, n=16):
    shared = np.random.default_rng(77).normal(size=(batches, n, 8))

    def grams(rows, drift):
        made = []
        walk = shared + 0.5 * np.random.default_rng(seed).normal(size=shared.shape)
        for _ in range(rows):
            walk = walk + drift * rng.normal(size=walk.shape)
            made.append(walk @ walk.transpose(0, 2, 1))
        return np.stack(made, axis=1).astype(np.float32)

    keys = ("cls", "spatial", "attention_skip", "attention_branch", "mlp_skip", "mlp_branch")
    return {
        "index": np.arange(batches * n).reshape(batches, n),
        **{key: grams(depth, 0.6) for key in keys},
        "norms": grams(2 * depth, 0.4),
        "ratio_attention": rng.uniform(1, 20, (depth, 3)),
        "ratio_mlp": rng.uniform(1, 5, (depth, 3)),
    }


def attention(rng, depth, heads, grid, examples=10, image_size=64):
    """Return statistics of attention whose heads are those of LOCAL_HEADS, and else look at a blob in the centre."""
    h, w = grid
    ys, xs = np.divmod(np.arange(h * w), w)
    dx, dy = xs[None] - xs[:, None], ys[None] - ys[:, None]
    flat = (dy + h - 1) * (2 * w - 1) + dx + w - 1
    cls_map, aligned = np.empty((depth, heads, h, w)), np.zeros((depth, heads, 2 * h - 1, 2 * w - 1))
    distance = np.empty((depth, heads))
    for layer in range(depth):
        for head in range(heads):
            (width, height), (x0, y0) = LOCAL_HEADS.get((layer, head), ((1e3, 1e3), (0, 0)))
            logits = -(((dx - x0) / width) ** 2 + ((dy - y0) / height) ** 2) / 2
            if (layer, head) not in LOCAL_HEADS:
                logits = logits + rng.normal(0, 1, h * w)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            aligned[layer, head] = np.bincount(flat.ravel(), weights.ravel(), flat.max() + 1).reshape(2 * h - 1, -1)
            aligned[layer, head] /= h * w
            distance[layer, head] = (weights * np.hypot(dx / (w - 1), dy / (h - 1))).sum(axis=1).mean()
            blob = np.exp(-((xs - w / 2) ** 2 + (ys - h / 2) ** 2) / (2 + 20 * rng.uniform()))
            cls_map[layer, head] = (blob / blob.sum()).reshape(h, w)
    share = aligned / aligned.sum(axis=(-2, -1), keepdims=True)
    offset = np.stack(
        [
            (share.sum(-2) * np.linspace(-1, 1, 2 * w - 1)).sum(-1),
            (share.sum(-1) * np.linspace(-1, 1, 2 * h - 1)).sum(-1),
        ],
        axis=-1,
    )
    noise = rng.uniform(0.3, 1, (examples, depth, heads, h, w))
    pictures = np.random.default_rng(5).integers(0, 255, (examples, 3, 4, 4))
    return {
        "cls_map": cls_map.astype(np.float32),
        "aligned": aligned.astype(np.float32),
        "distance": distance,
        "offset": offset,
        "repeating": rng.uniform(size=depth),
        "cls_only": np.zeros((depth, heads)),
        "examples_cls": (noise * cls_map).astype(np.float32),
        "examples_image": np.kron(pictures, np.ones((image_size // 4, image_size // 4))).astype(np.uint8),
        "images": np.array(100),
    }
