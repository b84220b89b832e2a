import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from networks.cells import Cells
from networks.label_propagation import decode_labels, labels_on_grid, propagate_frame, propagate_labels


def plain_frame(target: Tensor, sources: Tensor, labels: Tensor, radius: int, top_k: int) -> Tensor:
    """Return the labels of a frame by the official recipe, cell by cell: exp, mask, top-k with ties, divide by sum."""
    _, height, width = target.shape
    result = torch.zeros(labels.shape[1:])
    for y in range(height):
        for x in range(width):
            weights = (torch.einsum("c,nchw->nhw", target[:, y, x], sources) / 0.1).exp()
            for i in range(height):
                for j in range(width):
                    if radius and (abs(i - y) > radius or abs(j - x) > radius):
                        weights[:, i, j] = 0
            last = weights.flatten().topk(min(top_k, weights.numel())).values[-1]
            weights[weights < last] = 0
            result[:, y, x] = torch.einsum("nhw,nkhw->k", weights / weights.sum(), labels)
    return result


def context(frames: int, grid: tuple[int, int], channels: int = 8, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = F.normalize(torch.randn(frames + 1, channels, *grid, generator=generator), dim=1)
    return maps[0], maps[1:], torch.rand(frames, 3, *grid, generator=generator)


@pytest.mark.parametrize(("radius", "top_k"), [(2, 5), (12, 5), (1, 40), (0, 3)])
@pytest.mark.parametrize("grid", [(6, 9), (5, 5), (1, 7)])
@pytest.mark.parametrize("tile", [3, 16])
def test_agrees_with_the_plain_way(
    grid: tuple[int, int], radius: int, top_k: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("networks.label_propagation._TILE", tile)
    target, sources, labels = context(3, grid)
    propagated = propagate_frame(target, sources, labels, radius=radius, top_k=top_k)
    torch.testing.assert_close(propagated, plain_frame(target, sources, labels, radius, top_k), atol=1e-5, rtol=0)


def test_ties_at_the_last_place_all_have_a_say() -> None:
    target, sources = F.normalize(torch.ones(4, 3, 3), dim=0), F.normalize(torch.ones(1, 4, 3, 3), dim=1)
    labels = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert propagate_frame(target, sources, labels, radius=0, top_k=2).flatten().tolist() == pytest.approx([4.0] * 9)


def test_nothing_comes_from_out_of_reach() -> None:
    target, sources, labels = context(1, (9, 9))
    labels.zero_()
    labels[:, :, 0, 0] = 1
    changed = propagate_frame(target, sources, labels, radius=2, top_k=100)[0] > 0
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[:3, :3] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("temperature", [1e-3, 0.1, 10.0])
def test_weights_sum_to_one_at_any_temperature(temperature: float) -> None:
    target, sources, labels = context(2, (5, 6))
    propagated = propagate_frame(target, sources, torch.ones_like(labels), temperature=temperature)
    torch.testing.assert_close(propagated, torch.ones(3, 5, 6))


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_context_is_the_first_and_the_last_frames(frames: int) -> None:
    maps = torch.randn(frames, 8, 4, 5, generator=torch.Generator().manual_seed(1))
    first = torch.rand(2, 4, 5)
    propagated = list(propagate_labels(iter(maps), first, context_frames=2, radius=2))
    assert len(propagated) == frames - 1
    unit, known = F.normalize(maps, dim=1), [first]
    for number in range(1, frames):
        chosen = [0, *range(max(1, number - 2), number)]
        known.append(propagate_frame(unit[number], unit[chosen], torch.stack([known[i] for i in chosen]), radius=2))
        torch.testing.assert_close(propagated[number - 1], known[-1])


@pytest.mark.parametrize("grid", [(4, 4), (3, 7), (12, 9)])
def test_first_mask_is_resized_as_pil_does(grid: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (13, 20)).astype(np.uint8)
    mask[:2] = 255
    maps = labels_on_grid(torch.from_numpy(mask).long(), grid, 3)
    expected = np.asarray(Image.fromarray(mask).resize(grid[::-1], Image.Resampling.NEAREST))
    assert np.array_equal(maps, np.stack([expected == number for number in range(3)]))


@pytest.mark.parametrize(("pixels", "cells", "differ"), [(480, 14, 1), (480, 56, 3), (480, 30, 0), (854, 14, 0)])
def test_pil_takes_another_pixel_only_where_two_are_equally_near(pixels: int, cells: int, differ: int) -> None:
    column = np.arange(pixels, dtype=np.int32)[:, None]
    theirs = np.asarray(Image.fromarray(column).resize((1, cells), Image.Resampling.NEAREST))[:, 0]
    ours = labels_on_grid(torch.from_numpy(column).long(), (cells, 1), pixels).argmax(0)[:, 0].numpy()
    unlike = np.flatnonzero(theirs != ours)
    assert len(unlike) == differ
    assert all((2 * cell + 1) * pixels % (2 * cells) == 0 for cell in unlike)  # the centre lies on a border
    assert (ours[unlike] - theirs[unlike] == 1).all()


def test_decoding_undoes_encoding() -> None:
    mask = torch.zeros(40, 60, dtype=torch.long)
    mask[8:24, 12:36], mask[24:36, 40:52] = 1, 2
    assert torch.equal(decode_labels(labels_on_grid(mask, (40, 60), 3), (40, 60), (40, 60)), mask)
    decoded = decode_labels(labels_on_grid(mask, (10, 15), 3), (80, 80), (40, 60))
    assert decoded.shape == mask.shape
    assert (decoded == mask).float().mean() > 0.97


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_first_mask_at_the_centres_of_covered_cells(scale: int) -> None:
    """Cells of 8 pixels from 4 on; every pixel of the mask knows its own place, at the image's size or larger."""
    mask = torch.arange(32 * scale).expand(32 * scale, -1) // scale
    maps = labels_on_grid(mask, (3, 3), 32, size=(32, 32), cells=Cells(4, 8))
    assert maps.argmax(0).tolist() == [[8, 16, 24]] * 3
    assert labels_on_grid(mask, (3, 3), 32, size=(32, 32)).argmax(0).tolist() == [[5, 16, 26]] * 3


def test_masks_do_not_grow_over_what_the_cells_leave_out() -> None:
    """Of 28 pixels three cells of 8 cover 24: a mask on the last of them stays, and reaches the border."""
    mask = torch.zeros(28, 28, dtype=torch.long)
    mask[8:16, 16:] = 1
    for cells, expected in ((Cells(0, 8), (8, 16, 16)), (None, (9, 19, 19))):
        labels = labels_on_grid(mask, (3, 3), 2, size=(28, 28), cells=cells)
        rows, columns = (decode_labels(labels, (28, 28), (28, 28), cells) == 1).nonzero().unbind(1)
        assert (rows.min(), rows.max() + 1, columns.min()) == expected
        assert columns.max() == 27


def test_each_class_is_stretched_to_one() -> None:
    background, weak = torch.tensor([[[0.9, 0.9, 0.8, 0.9]]]), torch.tensor([[[0.0, 0.0, 0.2, 0.0]]])
    labels = torch.cat([background, weak, torch.zeros(1, 1, 4)])
    assert decode_labels(labels, (1, 4), (1, 4)).tolist() == [[0, 0, 1, 0]]


def test_a_video_of_background_only() -> None:
    assert not decode_labels(torch.ones(1, 3, 3), (6, 6), (9, 9)).any()
