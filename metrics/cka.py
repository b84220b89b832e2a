"""Centred kernel alignment: how alike two representations of the same samples are, whatever their dimensions."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from metrics.estimate import Estimate

SMALLEST_BATCH = 4  # the unbiased estimator divides by n (n - 3)


def unbiased_hsic(grams: Tensor) -> Tensor:
    """Return the unbiased estimate HSIC_1 of every pair of kernels.

    With K and L the Gram matrices after their diagonals are set to zero:
    HSIC_1 = (tr(K L) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'K L1) / (n (n-3)).

    Args:
        grams: (R, n, n), symmetric Gram matrices of R representations of the same n >= 4 samples.

    Returns:
        (R, R), symmetric. L. Song et al., "Feature selection via dependence maximization", JMLR 2012; HSIC_1 in thesis
        Eq. 2.1.

    Raises:
        ValueError: fewer than four samples.
    """
    halves = _halves(grams)
    return _hsic(halves, halves)


def _halves(grams: Tensor) -> tuple[Tensor, Tensor]:
    """Return what HSIC_1 takes of Gram matrices (R, n, n) with zeroed diagonals: all entries (R, n n), rows (R, n)."""
    n = grams.shape[-1]
    if n < SMALLEST_BATCH:
        raise ValueError(f"unbiased HSIC needs at least {SMALLEST_BATCH} samples, not {n}")
    grams = grams - torch.diag_embed(grams.diagonal(dim1=-2, dim2=-1))
    return grams.flatten(1), grams.sum(-1)


def _hsic(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> Tensor:
    (flat_x, rows_x), (flat_y, rows_y), n = x, y, x[1].shape[-1]
    totals = rows_x.sum(-1)[:, None] * rows_y.sum(-1)
    cross = flat_x @ flat_y.T + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows_x @ rows_y.T
    return cross / (n * (n - 3))


def _own_hsic(x: tuple[Tensor, Tensor]) -> Tensor:
    (flat, rows), n = x, x[1].shape[-1]
    own = flat.square().sum(-1) + rows.sum(-1) ** 2 / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows.square().sum(-1)
    return own / (n * (n - 3))


def cka_matrix(grams_a: Tensor | np.ndarray, grams_b: Tensor | np.ndarray) -> Tensor:
    """Return the minibatch CKA between all pairs of two sets of representations of the same batches.

    Thesis Eq. 2.1, from Gram matrices that were kept: the HSIC_1 of the batches are summed and their ratio is taken
    at the end, so that any two models or layers are compared without another pass through a network.

    Args:
        grams_a: (b, R, n, n), Gram matrices X X^T of R representations in b batches of n >= 4 samples.
        grams_b: (b, Q, n, n), of Q representations of the same samples.

    Returns:
        (R, Q), float64 on the CPU; NaN without any batch, and where an unbiased HSIC(X, X) is not positive, as it is
        for a representation that tells no sample from another.

    Raises:
        ValueError: batches of different number or size, or of fewer than four samples.
    """
    a, b = torch.as_tensor(grams_a), torch.as_tensor(grams_b)
    if a.ndim != 4 or b.ndim != 4 or len(a) != len(b) or a.shape[2:] != b.shape[2:]:
        raise ValueError(f"Gram matrices of shapes {tuple(a.shape)} and {tuple(b.shape)} are not of the same batches")
    count_a, count_b = a.shape[1], b.shape[1]
    cross = torch.zeros(count_a, count_b, dtype=torch.float64)
    own_a, own_b = cross.new_zeros(count_a), cross.new_zeros(count_b)
    for one, other in zip(a, b, strict=True):  # batch by batch, so that float64 copies stay small
        x, y = _halves(one.cpu().double()), _halves(other.cpu().double())
        cross += _hsic(x, y)
        own_a += _own_hsic(x)
        own_b += _own_hsic(y)
    norm = (own_a.clamp_min(0)[:, None] * own_b.clamp_min(0)).sqrt()
    return torch.where(norm > 0, cross / norm, torch.nan)  # Eq. 2.1


class MinibatchCKA(Metric):
    """CKA with a linear kernel between all pairs of R representations, accumulated over batches of samples.

    Thesis Eq. 2.1: the HSIC_1 of the batches are summed and their ratio is taken at the end,
    CKA = sum HSIC_1(X, Y) / sqrt(sum HSIC_1(X, X) sum HSIC_1(Y, Y)). ``compute`` returns {"CKA a->b": Estimate} for
    every pair of names, a before b. The standard error is that of the ratio over batches to first order (delta
    method); CKA is symmetric. The chapter 2 code rescales every Gram matrix to [0, 1] first, which only re-weights
    batches; here it is left out, as in the equation, and an option of ``callbacks.FeatureSimilarity``.

    Args:
        names: of the R representations, in the order in which ``update`` takes them.
    """

    full_state_update = False
    samples: Tensor
    batches: Tensor
    hsic: Tensor
    products: Tensor

    def __init__(self, names: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.names = list(names)
        count = len(self.names)
        # Sums only, so that a process without any batch takes part in a distributed sum all the same.
        self.add_state("samples", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("batches", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("hsic", torch.zeros(count, count, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("products", torch.zeros(3, count, count, dtype=torch.float64), dist_reduce_fx="sum")

    @override
    def update(self, representations: list[Tensor]) -> None:
        """Add one batch of samples.

        Args:
            representations: R tensors (n, ...), one per name, sample i the same in all; everything after the first
                axis is flattened and may differ in size. A batch of fewer than four samples is left out.

        Raises:
            ValueError: another number of representations than names.
        """
        if len(representations) != len(self.names):
            raise ValueError(f"{len(representations)} representations for the names {self.names}")
        n = len(representations[0])
        if n < SMALLEST_BATCH:
            return
        flat = (x.detach().flatten(1).double() for x in representations)
        hsic = unbiased_hsic(torch.stack([x @ x.T for x in flat]))
        own = hsic.diagonal()
        self.samples += n
        self.batches += 1
        self.hsic += hsic
        # [0] xy^2, [1] xy xx (its transpose is xy yy), [2] xx yy: what the variance of the ratio is made of.
        self.products += torch.stack([hsic * hsic, hsic * own[:, None], own[:, None] * own])

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the CKA of every pair; NaN where no batch of at least four samples was seen."""
        own = self.hsic.diagonal()
        norm = (own[:, None] * own).sqrt()  # NaN where noise made an unbiased HSIC(X, X) negative
        cka = self.hsic / norm  # Eq. 2.1
        error = self._standard_error(cka, own)
        count = int(self.samples)
        return {
            f"CKA {a}->{b}": Estimate(cka[i, j], error[i, j], count)
            for i, a in enumerate(self.names)
            for j, b in enumerate(self.names)
            if i < j
        }

    def _standard_error(self, cka: Tensor, own: Tensor) -> Tensor:
        """First order: d log CKA of batch i is xy_i / XY - xx_i / 2 XX - yy_i / 2 YY, with capitals for the sums."""
        batches = float(self.batches)
        if batches < 2:
            return torch.full_like(cka, torch.nan)
        xy2, xy_xx, xx_yy = self.products
        x, y, xy = own[:, None], own, self.hsic
        xx2, yy2 = xy2.diagonal()[:, None], xy2.diagonal()
        relative = (
            xy2 / xy**2
            + xx2 / (4 * x**2)
            + yy2 / (4 * y**2)
            - xy_xx / (xy * x)
            - xy_xx.T / (xy * y)
            + xx_yy / (2 * x * y)
        )
        return cka.abs() * (relative.clamp_min(0) * batches / (batches - 1)).sqrt()
