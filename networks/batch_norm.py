"""Batch normalisation over the global batch of all processes, on any device and backend."""

from typing import Self

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from visionscapes.processes import rank_and_world_size


class GlobalBatchNorm(_BatchNorm):
    """``nn.BatchNorm1d/2d/3d`` whose statistics in training are those of all processes' batches together.

    W processes with B samples each compute what one process computes with W*B. ``nn.SyncBatchNorm`` does the same on
    GPUs only. The variance is taken around the global mean in a second exchange: sums of squares would lose half the
    digits.

    Args:
        num_features: channels C of the input (B, C, ...).
        eps: added to the variance.
        momentum: of the running statistics; None averages all batches with equal weight.
        affine: whether to scale and shift.
        track_running_stats: whether to keep running statistics for evaluation.
    """

    @classmethod
    def sharing(cls, layer: _BatchNorm) -> Self:
        """Return a layer that shares the parameters and the running statistics of ``layer``."""
        own = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        own._parameters, own._buffers = layer._parameters, layer._buffers
        return own.train(layer.training)

    @override
    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected an input (B, C, ...), got {tuple(input.shape)}")

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` (B, C, ...) normalised over everything but C."""
        uses_batch = self.training or self.running_mean is None
        if not uses_batch or rank_and_world_size()[1] == 1:
            return super().forward(input)
        self._check_input_dim(input)
        others = [dim for dim in range(input.dim()) if dim != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input if input.dtype == torch.float64 else input.float()

        # Counts may differ between processes, in number and in size of the images.
        count = x.new_full((1,), x.numel() / x.shape[1])
        sums = all_reduce(torch.cat([x.sum(others), count]))
        total = sums[-1]
        mean = sums[:-1] / total
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().sum(others)) / total
        self._track(mean.detach(), variance.detach(), total.detach())

        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out = centred * scale.view(shape)
        return (out if self.bias is None else out + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if not (self.training and self.track_running_stats):
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        unbiased = variance * count / (count - 1)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
