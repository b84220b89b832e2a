"""What a run on the pretended device is asked about, and what is known about CUDA's operators."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[3]
HERE = str(Path(__file__).parent)

MIXED = "mixed devices"  # tensors of two devices in an operator that does not allow it
GENERATOR = "CPU generator"  # a CPU torch.Generator draws a tensor of the GPU
NO_KERNEL = "no kernel"  # an operator without a CUDA kernel in this build of torch
VARYING = "varying order"  # what CUDA adds up in an order that varies
WAITING = "waiting"  # the host waits for the GPU: .item(), nonzero, copies to the host
FAULTS = (MIXED, GENERATOR, NO_KERNEL)

# From the documentation of torch.use_deterministic_algorithms: with it these raise an error on CUDA, ...
REFUSED_IF_DETERMINISTIC = {
    *(
        "upsample_bicubic2d_backward",
        "_upsample_bilinear2d_aa_backward",
        "_upsample_bicubic2d_aa_backward",
        "upsample_trilinear3d_backward",
    ),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "_roi_align_backward", "_roi_pool_backward"),
    *("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward"),
    *("avg_pool3d_backward", "fractional_max_pool2d_backward", "max_unpool2d"),
    *("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
    *("nll_loss2d_forward", "nll_loss2d_backward", "_ctc_loss_backward", "_embedding_bag_dense_backward"),
    *("put_", "histc", "kthvalue", "_deform_conv2d_backward", "deform_conv2d_backward"),
}
# ... and these take another algorithm, those of bilinear interpolation before they are called (F.interpolate). Indexed
# assignment is left out: only repeated indices make it vary.
OTHERWISE_IF_DETERMINISTIC = {
    *("scatter_add", "scatter_add_", "index_add", "index_add_", "scatter_reduce", "scatter_reduce_", "cumsum"),
    *("upsample_linear1d_backward", "upsample_bilinear2d_backward"),
    *("convolution_backward", "embedding_dense_backward", "max_pool3d_with_indices_backward"),
    *("replication_pad1d_backward", "replication_pad2d_backward", "replication_pad3d_backward"),
}
WAITS = {
    *("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "unique_consecutive", "masked_select", "equal"),
    *("is_nonzero", "linalg_eigh", "_linalg_eigh", "nms", "bincount"),
}


@dataclass(frozen=True)
class Finding:
    """Something that an operator did, and where.

    Args:
        kind: one of the constants above.
        what: the operator, and shapes where they help.
        where: the innermost line of this project, "networks/dense.py:12 forward"; of a library if there is none.
        phase: "training" within a training step, else "elsewhere".
        module: class of the LightningModule that trains, "" elsewhere.
    """

    kind: str
    what: str
    where: str
    phase: str
    module: str


found: Counter[Finding] = Counter()
steps: Counter[str] = Counter()  # training steps, by class of the LightningModule
strict = [False]  # whether a fault raises the error that CUDA would


def note(kind: str, what: str) -> None:
    """Record a finding at the current line."""
    where, phase, module = _place(sys._getframe(1))
    found[Finding(kind, what, where, phase, module)] += 1
    if strict[0] and kind in FAULTS:
        raise RuntimeError(f"Expected all tensors to be on the same device: {kind}, {what} at {where}")


def _place(frame: FrameType | None) -> tuple[str, str, str]:
    own = other = module = ""
    while frame is not None:
        file, code = frame.f_code.co_filename, frame.f_code
        if file.startswith(HERE):
            pass
        elif "site-packages" in file:
            name = file.rpartition("site-packages/")[2]
            if not other and not name.startswith("torch/"):
                other = f"{name}:{frame.f_lineno} {code.co_name}"
            if name.endswith("loops/training_epoch_loop.py") and code.co_name == "advance":
                module = _module_of(frame.f_locals["self"])
                break  # what is further out has only started the training
        elif not own and file.startswith(str(ROOT)):
            own = f"{file.removeprefix(f'{ROOT}/')}:{frame.f_lineno} {code.co_name}"
        frame = frame.f_back
    return own or other or "torch", "training" if module else "elsewhere", module


def _module_of(loop: Any) -> str:
    return type(loop.trainer.lightning_module).__name__


def report() -> dict[str, Any]:
    """Return everything found, as JSON has it."""
    rows = [{**vars(finding), "times": times} for finding, times in found.most_common()]
    return {"steps": dict(steps), "findings": rows}
