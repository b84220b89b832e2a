import time

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from scipy.ndimage import gaussian_filter
from threadpoolctl import ThreadpoolController
from torch.nn import functional as F

from networks.cells import Cells
from networks.tokencut import dense_second_eigenvector, discover_box, object_mask, second_eigenvector, similar_cells


def blob_features(side, box, noise=0.3, seed=0):
    """Smooth random features with one object: its cells share a direction that the background's do not have."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((16, side, side)), (0, side / 14, side / 14))
    field /= field.std()
    left, top, right, bottom = box
    inside = np.zeros((side, side), bool)
    inside[top:bottom, left:right] = True
    direction = rng.standard_normal((2, 16))
    means = np.where(inside, direction[0][:, None, None], direction[1][:, None, None])
    return torch.tensor(means + noise * field, dtype=torch.float32)


def official_box(features, image_size, tau, eps=1e-5):
    """TokenCut in plain NumPy, step by step, with the dense generalised eigenproblem."""
    _, height, width = features.shape
    cells = features.flatten(1).numpy().astype(np.float64)
    cells = cells / np.linalg.norm(cells, axis=0)
    affinity = np.where(cells.T @ cells > tau, 1.0, eps)
    degree = np.diag(affinity.sum(1))
    _, vectors = eigh(degree - affinity, degree, subset_by_index=[1, 2])
    vector = vectors[:, 0]
    part = vector > vector.mean()
    seed = np.argmax(np.abs(vector))
    if not part[seed]:
        part = ~part
    part = part.reshape(height, width)
    todo, component = [divmod(int(seed), width)], set()
    while todo:
        row, column = todo.pop()
        if (row, column) in component or not (0 <= row < height and 0 <= column < width) or not part[row, column]:
            continue
        component.add((row, column))
        todo += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    rows, columns = zip(*component, strict=True)
    cell = image_size[0] / height, image_size[1] / width
    return [min(columns) * cell[1], min(rows) * cell[0], (max(columns) + 1) * cell[1], (max(rows) + 1) * cell[0]]


def test_finds_a_planted_object():
    box = discover_box(blob_features(14, (3, 5, 8, 11), noise=0.05), (224, 224))
    assert box.tolist() == [48, 80, 128, 176]
    assert box.dtype == torch.float32


@pytest.mark.parametrize(("cells", "expected"), [(None, [18.5, 18.5, 55.5, 55.5]), (Cells(0, 16), [16, 16, 48, 48])])
def test_an_image_that_is_no_multiple_of_the_patch(cells, expected):
    """111 pixels, patches of 16: six cells cover 96 of them, and an object from 16 to 48 is where its cells are."""
    features = torch.zeros(2, 6, 6)
    features[1] = 1
    features[:, 1:3, 1:3] = torch.tensor([1.0, 0.0])[:, None, None]
    np.testing.assert_allclose(discover_box(features, (111, 111), cells=cells), expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tau", [0.2, 0.3])
def test_same_box_as_the_official_procedure(seed, tau):
    features = blob_features(20, (4, 6, 12, 15), noise=0.2 + 0.2 * seed, seed=seed)[:, :, :17]
    expected = official_box(features, (200, 136), tau)
    np.testing.assert_allclose(discover_box(features, (200, 136), tau=tau), expected, rtol=1e-6)


def test_solves_the_generalised_eigenproblem():
    similar = similar_cells(blob_features(12, (2, 2, 6, 6), noise=1.0), 0.2)
    affinity = np.where(similar, 1.0, 1e-5)
    degree = affinity.sum(1)
    values = eigh(np.diag(degree) - affinity, np.diag(degree), eigvals_only=True)
    vector = second_eigenvector(similar)
    np.testing.assert_allclose(degree * vector - affinity @ vector, values[1] * degree * vector, atol=1e-7)
    assert vector[np.abs(vector).argmax()] > 0
    np.testing.assert_allclose(vector, dense_second_eigenvector(similar), atol=1e-7)


def test_clusters_that_share_no_edge():
    """Three clusters joined by eps only: their eigenvalues lie within 1e-3 of each other, yet the answer is exact."""
    similar = np.zeros((200, 200), bool)
    for start, stop in [(0, 100), (100, 160), (160, 200)]:
        similar[start:stop, start:stop] = True
    np.testing.assert_allclose(second_eigenvector(similar), dense_second_eigenvector(similar), atol=1e-6)


@pytest.mark.parametrize("sizes", [[100, 60, 40], [100, 100], [40] * 8, [150] + [1] * 50, [199, 1]], ids=str)
@pytest.mark.parametrize("alone", [0, 30])
def test_graphs_of_many_parts(sizes, alone):
    """Equal eigenvalues leave the vector open, but not the value; ``alone`` cells are not even like themselves."""
    similar = np.zeros((sum(sizes) + alone, sum(sizes) + alone), bool)
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        similar[start : start + size, start : start + size] = True
    affinity = np.where(similar, 1.0, 1e-5)
    degree = affinity.sum(1)
    value = eigh(np.diag(degree) - affinity, np.diag(degree), eigvals_only=True)[1]
    vector = second_eigenvector(similar)
    np.testing.assert_allclose(degree * vector - affinity @ vector, value * degree * vector, atol=1e-6)
    assert abs(degree @ vector) < 1e-6 * np.linalg.norm(degree)  # not the known vector, whose value is 0
    np.testing.assert_array_equal(vector, second_eigenvector(similar))


def test_products_take_one_thread_and_leave_the_others_as_they_were(monkeypatch):
    """Threads would wait for each other longer than they multiply, and decide the last bits of the vector."""
    import scipy.sparse.linalg as sparse

    solve, seen = sparse.eigsh, []
    pools = ThreadpoolController().select(user_api="blas")
    before = [library["num_threads"] for library in pools.info()]

    def spy(*arguments, **options):
        seen.extend(library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info())
        return solve(*arguments, **options)

    monkeypatch.setattr(sparse, "eigsh", spy)
    similar = similar_cells(blob_features(28, (5, 6, 15, 20), noise=0.8), 0.2)
    with pools.limit(limits=2):
        second_eigenvector(similar)
    assert seen
    assert set(seen) == {1}
    assert [library["num_threads"] for library in pools.info()] == before


def test_falls_back_to_the_dense_solution(monkeypatch):
    import scipy.sparse.linalg as sparse

    def never_converges(*_, **__):
        raise sparse.ArpackNoConvergence("no", np.empty(0), np.empty((0, 0)))

    monkeypatch.setattr(sparse, "eigsh", never_converges)
    similar = similar_cells(blob_features(10, (2, 2, 6, 6)), 0.2)
    np.testing.assert_array_equal(second_eigenvector(similar), dense_second_eigenvector(similar))


@pytest.mark.parametrize(
    "features",
    [torch.ones(8, 9, 12), torch.zeros(8, 9, 12), torch.eye(108).view(108, 9, 12), torch.ones(4, 1, 1)],
    ids=["uniform", "zero", "orthogonal", "one cell"],
)
def test_nothing_to_cut_is_the_whole_image(features):
    assert discover_box(features, (90, 120)).tolist() == [0, 0, 120, 90]


def test_object_is_one_connected_component():
    features = torch.zeros(2, 10, 10)
    features[0] = 1
    for corner in (slice(1, 3), slice(3, 5)):  # two squares that touch at a corner only, alike in features
        features[:, corner, corner] = torch.tensor([0.0, 1.0])[:, None, None]
    assert object_mask(features).sum() == 4


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 30), (3, 3), (8, 8), (8, 9)])
def test_deterministic_and_inside_for_every_grid(shape):
    features = torch.randn(6, *shape, generator=torch.Generator().manual_seed(3))
    box = discover_box(features, (60, 90), tau=0.0)
    assert torch.equal(box, discover_box(features, (60, 90), tau=0.0))
    assert (box >= 0).all()
    assert (box <= torch.tensor([90, 60, 90, 60])).all()
    assert box[0] < box[2]
    assert box[1] < box[3]


@pytest.mark.slow
def test_ten_times_faster_than_dense_at_56_cells():
    features = F.normalize(blob_features(56, (10, 12, 30, 40), noise=0.8), dim=0)
    similar = similar_cells(features, 0.2)
    times = []
    for solver in (second_eigenvector, dense_second_eigenvector):
        start = time.perf_counter()
        vector = solver(similar)
        times.append(time.perf_counter() - start)
        mask = vector > vector.mean()
        times.append(mask)
    assert (times[1] == times[3]).all()
    assert times[0] < 0.1 * times[2]
