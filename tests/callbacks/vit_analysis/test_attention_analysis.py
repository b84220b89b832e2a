import copy
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.vit_analysis.attention_analysis import AttentionAnalysis, AttentionSums
from callbacks.vit_analysis.attention_saliency import AttentionSaliency
from networks.attention_statistics import repeating_score
from networks.vit_layers import BlockView, Layered, LayeredViT
from tests.callbacks.vit_analysis.feature_helpers import DEPTH, SIZE, Batches, analyse, batches, noise, show, tiny_vit
from tests.helpers.processes import two_processes
from tests.networks.test_attention_statistics import naive_aligned, naive_distance
from visionscapes.errors import UserError

REGISTERS = {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 3}


def sharp(vit: LayeredViT, factor: float = 30) -> LayeredViT:
    """Make the attention of random weights differ between queries and keys."""
    for block in vit.vit.blocks:
        block.attn.qkv.weight.data *= factor
    return vit


def with_registers() -> LayeredViT:
    torch.manual_seed(1)
    return sharp(LayeredViT("vit_small_patch14_reg4_dinov2", None, REGISTERS), 12)


def pictures(count: int, side: int = SIZE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(3))


def arrays(vit: Layered, images: Tensor, size: int = 4, examples: int = 2) -> dict[str, Tensor]:
    found = show(AttentionAnalysis(examples), vit, {"images": batches("images", size, image=images)}).compute()
    return {name: torch.from_numpy(values) for name, values in found.items()}


def attention_of(vit: Layered, images: Tensor) -> list[Tensor]:
    seen: list[Tensor] = []
    vit.visit(images, [lambda view: seen.append(view.attention.clone())], attention=True)  # type: ignore[union-attr]
    return seen


@pytest.mark.parametrize(("build", "prefix", "side"), [(lambda: sharp(tiny_vit()), 1, 16), (with_registers, 5, 56)])
def test_arrays_equal_a_plain_computation(build: Any, prefix: int, side: int) -> None:
    """Query by query and image by image, with class and register tokens left out."""
    vit, images = build(), pictures(5, side)
    found, grid = arrays(vit, images), (4, 4)
    assert vit.prefix == prefix
    assert found["images"] == 5
    for layer, attention in enumerate(attention_of(vit, images)):
        assert attention.shape[-1] == prefix + 16
        maps = attention[:, :, 0, prefix:].unflatten(2, grid)
        torch.testing.assert_close(found["cls_map"][layer], maps.mean(0))
        torch.testing.assert_close(found["examples_cls"][:, layer], maps[:2])
        assert float(found["repeating"][layer]) == pytest.approx(float(repeating_score(maps).mean()), abs=1e-6)
        rows = attention[:, :, prefix:, prefix:]
        rows = rows / rows.sum(-1, keepdim=True)
        aligned = naive_aligned(rows, grid) / (5 * 16)
        torch.testing.assert_close(found["aligned"][layer].double(), aligned, rtol=1e-5, atol=1e-6)
        assert torch.allclose(found["aligned"][layer].sum((1, 2)), torch.ones(()))
        for head, distance in enumerate(found["distance"][layer].tolist()):
            own = [naive_distance(row, q, grid) for image in rows for q, row in enumerate(image[head].numpy())]
            assert distance == pytest.approx(np.mean(own), rel=1e-5)
    spread = found["distance"].max() - found["distance"].min()
    assert spread > 0.01  # heads differ, so that a mistake in their order would show
    assert {k: tuple(v.shape) for k, v in found.items() if k != "images"} == {
        "cls_map": (2, vit.heads, 4, 4),
        "aligned": (2, vit.heads, 7, 7),
        "distance": (2, vit.heads),
        "offset": (2, vit.heads, 2),
        "repeating": (2,),
        "cls_only": (2, vit.heads),
        "examples_cls": (2, 2, vit.heads, 4, 4),
        "examples_image": (2, 3, side, side),
    }
    assert all(v.dtype == torch.float32 for k, v in found.items() if k not in ("images", "examples_image"))


@pytest.mark.parametrize("size", [1, 3, 7])
def test_batches_and_their_order_do_not_matter(size: int) -> None:
    vit, images = sharp(tiny_vit()), pictures(7)
    whole = arrays(vit, images, size=7)
    for other in (arrays(vit, images, size), arrays(vit, images.flip(0), size)):
        for name in ("cls_map", "aligned", "distance", "offset", "repeating", "cls_only"):
            torch.testing.assert_close(other[name], whole[name], rtol=1e-5, atol=1e-6)


def test_large_maps_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vit, images = sharp(tiny_vit()), pictures(5)
    whole = arrays(vit, images, size=5)
    monkeypatch.setattr("callbacks.vit_analysis.attention_analysis._ENTRIES_AT_ONCE", 2 * 2 * 17 * 17)
    for name, values in arrays(vit, images, size=5).items():
        torch.testing.assert_close(values, whole[name])


def test_examples_are_the_first_images_across_batches() -> None:
    vit, images = sharp(tiny_vit()), pictures(5)
    found = arrays(vit, images, size=2, examples=3)
    assert found["examples_image"].dtype == torch.uint8
    assert torch.equal(found["examples_image"], (images[:3] * 255).round().to(torch.uint8))
    expected = torch.stack([a[:3, :, 0, 1:].unflatten(2, (4, 4)) for a in attention_of(vit, images)], 1)
    torch.testing.assert_close(found["examples_cls"], expected)
    assert len(arrays(vit, images, examples=9)["examples_image"]) == 5  # no empty ones where there are fewer
    assert arrays(vit, images, examples=0)["examples_cls"].shape == (0, DEPTH, 2, 4, 4)
    with pytest.raises(UserError, match="examples is -1"):
        AttentionAnalysis(-1)


def test_queries_wholly_on_prefix_tokens_are_counted() -> None:
    state = AttentionSums(1, 3, (2, 2), 4, 0)
    state.update(torch.rand(2, 3, 4, 4))
    attention = torch.full((2, 3, 5, 5), 0.2)
    attention[:, 1] = torch.tensor([1.0, 0, 0, 0, 0])  # all of a head
    attention[0, 2, 4] = torch.tensor([1.0, 0, 0, 0, 0])  # one query of one image
    state.add_maps(0, attention, 1)
    found = state.compute()
    assert found["cls_only"].tolist() == [[0, 1, 1 / 8]]
    uniform = (2 + 2**0.5) / 4
    assert found["distance"][0].tolist() == pytest.approx([uniform, float("nan"), uniform], nan_ok=True)
    assert np.isnan(found["offset"][0, 1]).all()
    assert found["aligned"][0].sum((1, 2)).tolist() == pytest.approx([1, 0, 7 / 8])
    figures = AttentionAnalysis().figures(found)
    assert figures["attention distance"].tolist() == pytest.approx([uniform])


def test_the_model_is_left_as_it_was_also_if_an_observer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    vit, images = tiny_vit(), pictures(3)
    before, expected = copy.deepcopy(vit.state_dict()), vit(images)
    flags = [block.attn.fused_attn for block in vit.vit.blocks]
    hooks = sum(len(module._forward_hooks) for module in vit.modules())

    def check() -> None:
        assert [block.attn.fused_attn for block in vit.vit.blocks] == flags
        assert sum(len(module._forward_hooks) for module in vit.modules()) == hooks
        assert all(torch.equal(value, before[name]) for name, value in vit.state_dict().items())
        assert all(torch.equal(value, expected[name]) for name, value in vit(images).items())

    arrays(vit, images)
    check()
    monkeypatch.setattr(AttentionSums, "add_maps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        arrays(vit, images)
    check()


def test_looking_on_does_not_change_what_others_see() -> None:
    """Maps are reduced without being written to, and the tokens are those of the fused kernels."""
    vit, images = sharp(tiny_vit(), 5), pictures(3)
    callback, maps, tokens, fused = AttentionAnalysis(), [], [], []
    plain = attention_of(vit, images)
    look = callback.observer(callback.new_state(vit), vit, {"image": images})

    def keep(view: BlockView) -> None:
        assert view.attention is not None
        maps.append(view.attention)
        tokens.append(view.tokens)

    vit.visit(images, [look, keep], attention=True)
    vit.visit(images, [lambda view: fused.append(view.tokens)])
    assert all(torch.equal(one, other) for one, other in zip(maps, plain, strict=True))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(tokens, fused, strict=True))


def test_figures_are_written_and_taken_from_the_store_the_next_time(tmp_path: Path, monkeypatch: Any) -> None:
    vit = sharp(tiny_vit())
    tasks = {"images": batches("images", 2, image=pictures(5), index=torch.arange(5))}
    analyse(tmp_path / "1", [AttentionAnalysis(2)], tasks, {"FS": vit, "Random": noise()})
    with np.load(tmp_path / "1" / "arrays" / "FS" / "attention.npz") as file:
        stored = dict(file)
    for name, values in arrays(vit, pictures(5), size=2).items():
        assert np.array_equal(stored[name], np.asarray(values), equal_nan=True)
    assert not (tmp_path / "1" / "arrays" / "Random" / "attention.npz").exists()
    text = (tmp_path / "1" / "results" / "attention.csv").read_text()
    rows = {row["metric"]: float(row["value"]) for row in csv.DictReader(text.splitlines())}
    distance, repeating = stored["distance"].mean(1), stored["repeating"]
    assert [rows[f"attention distance @{n}"] for n in (1, 2)] == pytest.approx(distance.tolist())
    assert [rows[f"repeating score @{n}"] for n in (1, 2)] == pytest.approx(repeating.tolist())

    monkeypatch.setattr(AttentionAnalysis, "observer", lambda *_: pytest.fail("measured a second time"))
    analyse(tmp_path / "2", [AttentionAnalysis(2)], tasks, {"FS": vit, "Random": noise()})
    assert (tmp_path / "2" / "results" / "attention.csv").read_text() == text
    assert (tmp_path / "2" / "arrays" / "FS" / "attention.npz").is_file()


def shared_tasks() -> Batches:
    masks = torch.rand(6, SIZE, SIZE, generator=torch.Generator().manual_seed(5)) > 0.97
    masks[2] = False
    saliency = [{**b, "dataset": d} for b, d in zip(batches("saliency", 2, image=pictures(6), mask=masks), "aab")]  # noqa: B905
    return {"images": batches("images", 2, image=pictures(6)), "saliency": saliency}


def one_rank(rank: int, root: str) -> None:
    # Unequal shares: rank 1 alone sees the second data set.
    own = {task: found[:1] if rank == 0 else found[1:] for task, found in shared_tasks().items()}
    callbacks = [AttentionAnalysis(3), AttentionSaliency()]
    analyse(Path(root), callbacks, own, {"FS": sharp(tiny_vit())}, strategy="ddp", devices=2)  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_processes_give_the_arrays_of_one(tmp_path: Path) -> None:
    analyse(tmp_path / "one", [AttentionAnalysis(3), AttentionSaliency()], shared_tasks(), {"FS": sharp(tiny_vit())})
    two_processes(one_rank, str(tmp_path / "two"))
    for protocol in ("attention", "saliency"):
        one, two = (np.load(tmp_path / name / "arrays" / "FS" / f"{protocol}.npz") for name in ("one", "two"))
        assert one.files == two.files
        for name in one.files:
            # The first process has seen two images, so that there are two examples.
            expected = one[name][:2] if name.startswith("examples") else one[name]
            np.testing.assert_allclose(two[name], expected, rtol=1e-5, atol=1e-6)
