"""TokenCut: the most salient object of an image as a normalised cut of the graph of its features.

Y. Wang et al., "Self-supervised transformers for unsupervised object discovery using normalized cut", CVPR 2022;
used in thesis section 8.3.3 through the authors' code, which these functions follow. What differs is the solver: the
official dense decomposition takes O(N^3) for N cells, Lanczos iterations a few dozen matrix-vector products.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.nn import functional as F

from networks.cells import Cells, cells_along

EPS = 1e-5  # weight of an edge between dissimilar cells; keeps the graph connected


def similar_cells(features: Tensor, tau: float) -> NDArray[np.bool_]:
    """Return which pairs of cells have a cosine similarity above ``tau``.

    Args:
        features: (C, h, w), finite.
        tau: threshold on the cosine, in [-1, 1].

    Returns:
        Symmetric matrix (h w, h w) of bool, cells in row-major order.
    """
    cells = F.normalize(features.detach().float().flatten(1), dim=0)
    similar = cells.T @ cells > tau
    return (similar | similar.T).cpu().numpy()  # a product in floating point need not be exactly symmetric


def second_eigenvector(similar: NDArray[np.bool_], eps: float = EPS) -> NDArray[np.float64]:
    """Return the eigenvector to the second smallest eigenvalue of (D - A) v = lambda D v, by Lanczos iterations.

    A is 1 between similar cells and ``eps`` elsewhere, D the diagonal of its row sums. With y = D^(1/2) v this is the
    second largest eigenvalue of D^(-1/2) A D^(-1/2), whose largest one, 1, belongs to the known vector
    u = D^(1/2) 1. Subtracting 2 u u^T moves it to -1, below all others, so that the wanted one becomes the largest.

    Args:
        similar: symmetric matrix (N, N) of bool.
        eps: weight of an edge between dissimilar cells.

    Returns:
        (N,), normalised to unit length, its largest entry in magnitude positive. Where eigenvalues coincide any
        vector of their space may come out, but always the same one.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    count = len(similar)
    affinity = np.where(similar, 1.0, eps)
    degree = affinity.sum(1)
    scale = degree**-0.5
    trivial = np.sqrt(degree / degree.sum())

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        vector = vector.ravel()
        return scale * (affinity @ (scale * vector)) - 2 * trivial * (trivial @ vector)

    if count < 64:  # Lanczos needs more vectors than so small a problem has to offer, and gains nothing
        return dense_second_eigenvector(similar, eps)
    start = np.random.default_rng(0).standard_normal(count)
    operator = LinearOperator((count, count), matvec=product, dtype=np.float64)
    try:
        with _threads().limit(limits=1, user_api="blas"):
            _, vectors = eigsh(operator, k=1, which="LA", v0=start, tol=1e-10, maxiter=50)
    except ArpackError:  # includes ArpackNoConvergence: clusters so far apart that their eigenvalues nearly coincide
        return dense_second_eigenvector(similar, eps)
    return _oriented(scale * vectors[:, 0])


def dense_second_eigenvector(similar: NDArray[np.bool_], eps: float = EPS) -> NDArray[np.float64]:
    """Return what ``second_eigenvector`` does by a dense decomposition, as the official code does: slow but sure."""
    from scipy.linalg import eigh

    affinity = np.where(similar, 1.0, eps)
    degree = np.diag(affinity.sum(1))
    _, vectors = eigh(degree - affinity, degree, subset_by_index=[1, 1])
    return _oriented(vectors[:, 0])


def object_mask(features: Tensor, tau: float = 0.2, eps: float = EPS) -> NDArray[np.bool_]:
    """Return the cells of the most salient object.

    The second eigenvector is split at its mean; the side with its largest entry in magnitude, the seed, is foreground,
    and the 4-connected component around the seed is the object. Where the graph has nothing to cut, because either
    all cells or no two cells are similar, the object is the whole image.

    Args:
        features: (C, h, w), finite.
        tau: cosine above which two cells are connected: 0.2 for VOC, 0.3 for COCO20k (official code; the thesis gives
            none).
        eps: weight of an edge between dissimilar cells.

    Returns:
        (h, w) of bool, at least one cell set.
    """
    from scipy.ndimage import label

    height, width = features.shape[1:]
    similar = similar_cells(features, tau)
    off_diagonal = similar.sum() - np.trace(similar)
    if off_diagonal in (0, similar.size - len(similar)):
        return np.ones((height, width), dtype=bool)
    vector = second_eigenvector(similar, eps)
    seed = int(np.abs(vector).argmax())
    foreground = (vector > vector.mean()).reshape(height, width)  # holds the seed, whose entry is positive
    components, _ = label(foreground)
    return components == components.flat[seed]


def discover_box(
    features: Tensor, image_size: tuple[int, int], *, tau: float = 0.2, eps: float = EPS, cells: Cells | None = None
) -> Tensor:
    """Return the box around the most salient object.

    Args:
        features: (C, h, w) of an image, finite.
        image_size: (height, width) of the image in pixels.
        tau: see ``object_mask``.
        eps: see ``object_mask``.
        cells: where the cells lie; they tile the image evenly if None, as the official code has it.

    Returns:
        (4,) float32 on the CPU, xyxy in pixels, within the image.
    """
    mask = object_mask(features, tau, eps)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    edges = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=torch.float32)
    y, x = (cells_along(cells, *side) for side in zip(mask.shape, image_size, strict=True))
    return torch.tensor([x.start, y.start] * 2) + edges * torch.tensor([x.size, y.size] * 2)


@cache
def _threads() -> ThreadpoolController:
    """Return the control of the threads that numpy and scipy multiply with.

    One is quicker here: a product with a vector is so short that threads wait for each other longer than they work.
    """
    return ThreadpoolController()


def _oriented(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale to unit length with the largest entry in magnitude positive: an eigenvector is known but for its sign."""
    vector = vector / np.linalg.norm(vector)
    return vector * np.sign(vector[np.abs(vector).argmax()])
