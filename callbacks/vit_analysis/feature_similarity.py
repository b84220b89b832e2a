"""Which images each layer finds alike: the Gram matrices from which CKA compares any two layers of any two models."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import NEUTRAL, Presentation
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from metrics.cka import SMALLEST_BATCH
from networks.vit_layers import BlockView, Layered, Observer, RandomFeatures
from visionscapes.checks import check_options
from visionscapes.errors import UserError
from visionscapes.processes import gather_tensors

RESIDUAL_PATHS = ("attention_skip", "attention_branch", "mlp_skip", "mlp_branch")
KINDS = ("cls", "spatial", "norms", *RESIDUAL_PATHS)


class FeatureSimilarity(LayerEvaluation):
    """Gram matrices of the images of each batch for minibatch CKA, and norms of skips and branches.

    For every block: the class token; all spatial tokens of an image as one vector, not averaged; the outputs of both
    layer norms; what either addition adds up, the path around the layer ("skip") and the one through it ("branch"), of
    all tokens. ``metrics.cka.cka_matrix`` compares any two of them, also of two models, when the report is made:
    n x n numbers a layer and batch are kept, no features.

    CKA sees differences within a batch only. The data have to mix classes in every batch and show every model the same
    batches, which "index" lets the report check; the official code has class-sorted batches of eight, in which each
    batch holds one class. A last batch that is shorter than the others is left out.

    Args:
        rescale: divide every Gram matrix by the range of its entries, batch by batch, as the official code does when it
            stretches them to [0, 1]. That weighs batches otherwise and is not in Eq. 2.1; published matrices are made
            so, with ``order: sorted`` and ``batch_size: 8`` of `datamodules.ImageNet50`.

    Raises:
        UserError: at the first batch, fewer than four images in it.

    Thesis 2.4.1 and 2.7.5.1 to 2.7.5.4; for the layer norms, which it calls batch norms, 2.7.5.3.
    """

    protocol = "similarity"
    presentation = Presentation("Skip connections against branches", NEUTRAL)
    tasks = ("images",)

    def __init__(self, rescale: bool = False):
        check_options(FeatureSimilarity, locals())
        super().__init__()
        self.rescale = rescale

    @override
    def measures(self, vit: Layered) -> bool:
        return not isinstance(vit, RandomFeatures)

    @override
    def new_state(self, vit: Layered) -> "GramMatrices":
        return GramMatrices(vit.depth)

    @override
    def observer(self, state: "GramMatrices", vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        n = len(batch["image"])
        if n < max(SMALLEST_BATCH, state.size):
            if state.size == 0:
                raise UserError(
                    f"CKA compares the images of a batch and needs at least {SMALLEST_BATCH}, not {n}: raise the batch "
                    "size of the data's task images, or use fewer processes"
                )
            state.dropped += n
            return lambda view: None
        grams: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
        ratios: dict[str, list[Tensor]] = {"attention": [], "mlp": []}

        def look(view: BlockView) -> None:
            shown = {"cls": [view.cls], "spatial": [view.patches], "norms": [view.parts["norm1"], view.parts["norm2"]]}
            shown |= {name: [view.parts[name]] for name in RESIDUAL_PATHS}
            for kind, features in shown.items():
                grams[kind] += [gram_matrix(x, self.rescale) for x in features]
            for path, own in ratios.items():
                own.append(norm_ratios(view.parts[f"{path}_skip"], view.parts[f"{path}_branch"], view.prefix))
            if view.layer == vit.depth - 1:
                state.update(
                    batch["index"],
                    {kind: torch.stack(own) for kind, own in grams.items()},
                    {path: torch.stack(own) for path, own in ratios.items()},
                )

        return look

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        # CKA is a matter of two layers or models and is taken from the arrays when the report is made.
        return {f"norm ratio {path}": arrays[f"ratio_{path}"][:, 2] for path in ("attention", "mlp")}


class GramMatrices(Metric):
    """The Gram matrices of every full batch, and mean ratios of norms.

    ``compute`` returns "index" (b, n); "cls", "spatial", "attention_skip", "attention_branch", "mlp_skip" and
    "mlp_branch" (b, L, n, n), "norms" (b, 2 L, n, n), which alternates between a block's two layer norms;
    "ratio_attention" and "ratio_mlp" (L, 3), ||skip|| / ||branch|| averaged over class, spatial and all tokens; and
    "dropped" (), images of batches that were too short.

    Args:
        depth: number of layers L.
    """

    full_state_update = False
    dropped: Tensor

    def __init__(self, depth: int, **kwargs: Any):
        super().__init__(dist_sync_fn=kwargs.pop("dist_sync_fn", gather_tensors), **kwargs)
        self.rows = {"index": 0} | {kind: 2 * depth if kind == "norms" else depth for kind in KINDS}
        for name in self.rows:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        for path in ("attention", "mlp"):
            self.add_state(f"ratio_{path}", torch.zeros(2, depth, 3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("dropped", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def size(self) -> int:
        """Images in the largest batch so far; 0 before the first."""
        return max((part.shape[-1] for part in self._parts("index")), default=0)

    @override
    def update(self, index: Tensor, grams: Mapping[str, Tensor], ratios: Mapping[str, Tensor]) -> None:
        """Add one batch of n images.

        Args:
            index: (n,), which images they are.
            grams: (R, n, n) by kind.
            ratios: (L, 2, 3) for "attention" and "mlp": sums over tokens, and numbers of tokens.
        """
        for name, values in [("index", index), *grams.items()]:
            dtype = torch.int64 if name == "index" else torch.float32
            getattr(self, name).append(values.detach()[None].to("cpu", dtype))
        for path, values in ratios.items():
            total = getattr(self, f"ratio_{path}")
            total += values.transpose(0, 1).to(total)

    @override
    def compute(self) -> dict[str, Any]:
        """Return the arrays; see the class."""
        self._drop_shorter_than(self.size)
        arrays: dict[str, Any] = {name: torch.cat(self._parts(name)) for name in self.rows}
        for path in ("attention", "mlp"):
            total, count = getattr(self, f"ratio_{path}").cpu()
            arrays[f"ratio_{path}"] = (total / count).float()
        return arrays | {"dropped": self.dropped}

    def _parts(self, name: str) -> list[Tensor]:
        state = getattr(self, name)
        return [state] if isinstance(state, Tensor) else state

    def _drop_shorter_than(self, size: int) -> None:
        full = [part.shape[-1] == size for part in self._parts("index")]
        self.dropped += sum(part.numel() for part, whole in zip(self._parts("index"), full, strict=True) if not whole)
        for name in self.rows:
            setattr(self, name, [part for part, whole in zip(self._parts(name), full, strict=True) if whole])

    @override
    def _sync_dist(self, dist_sync_fn: Any = gather_tensors, process_group: Any = None) -> None:
        # Matrices of different sizes cannot be put together, so processes first agree on the size.
        sizes = dist_sync_fn(torch.tensor(self.size), group=process_group)
        size = int(torch.stack([one.reshape(()) for one in sizes]).max())
        self._drop_shorter_than(size)
        for name, rows in self.rows.items():
            if not getattr(self, name):
                shape = (0, size) if name == "index" else (0, rows, size, size)
                setattr(self, name, [torch.empty(shape, dtype=torch.int64 if name == "index" else torch.float32)])
        super()._sync_dist(dist_sync_fn, process_group)


def gram_matrix(features: Tensor, rescale: bool = False) -> Tensor:
    """Return X X^T (n, n) in float32 of features (n, ...) whose mean over the images is taken off first.

    The unbiased HSIC does not see what all images have in common, but in float32 it would drown the rest: some channels
    of a ViT are hundreds of times as large as the others, and the same for all images.

    Args:
        features: (n, ...).
        rescale: divide by the difference between the largest and the smallest entry that X X^T has before the mean is
            taken off; see `FeatureSimilarity`. Images that are all alike stay as they are.
    """
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(1)
        mean = flat.mean(0)
        flat = flat - mean
        gram = flat @ flat.T
        if not rescale:
            return gram
        along = flat @ mean
        whole = gram + along[:, None] + along  # X X^T as it was, less one number that all entries share
        extent = whole.max() - whole.min()
        return gram / torch.where(extent > 0, extent, 1)


def norm_ratios(skip: Tensor, branch: Tensor, prefix: int) -> Tensor:
    """Return sums of ||skip|| / ||branch|| over class, spatial and all tokens, and numbers of tokens, (2, 3) float64.

    Tokens to which the branch adds nothing are left out, for their ratio is infinite.

    Args:
        skip: (B, P + N, C).
        branch: (B, P + N, C).
        prefix: P; register tokens count among "all" only.
    """
    above, below = skip.double().norm(dim=-1), branch.double().norm(dim=-1)
    counted = below > 0
    ratio = torch.where(counted, above / below, 0.0)
    groups = (slice(0, 1), slice(prefix, None), slice(None))
    return torch.stack([torch.stack([values[:, one].sum() for one in groups]) for values in (ratio, counted.double())])
