from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.vit_analysis.feature_similarity import KINDS, FeatureSimilarity, gram_matrix, norm_ratios
from metrics.cka import MinibatchCKA, cka_matrix
from networks.vit_layers import BlockView, LayeredViT
from tests.callbacks.vit_analysis.feature_helpers import (
    DEPTH,
    analyse,
    batches,
    noise,
    pictures,
    show,
    tiny_vit,
    tokens_of,
)
from visionscapes.errors import UserError


def images(count: int, size: int) -> dict[str, list[dict[str, Any]]]:
    index = torch.randperm(count, generator=torch.Generator().manual_seed(7))
    return {"images": batches("images", size, image=pictures(count), index=index)}


def lively_vit() -> LayeredViT:
    """Random weights large enough for every block to change something."""
    vit = tiny_vit()
    generator = torch.Generator().manual_seed(3)
    for parameter in vit.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return vit


PICKS = {
    "cls": lambda view: [view.cls],
    "spatial": lambda view: [view.patches],
    "norms": lambda view: [view.parts["norm1"], view.parts["norm2"]],
    "attention_skip": lambda view: [view.parts["attention_skip"]],
    "attention_branch": lambda view: [view.parts["attention_branch"]],
    "mlp_skip": lambda view: [view.parts["mlp_skip"]],
    "mlp_branch": lambda view: [view.parts["mlp_branch"]],
}


@torch.no_grad()
def test_arrays_give_the_cka_of_the_features_themselves() -> None:
    vit, tasks = lively_vit(), images(18, 6)
    arrays = show(FeatureSimilarity(), vit, tasks).compute()
    expected_index = torch.stack([batch["index"] for batch in tasks["images"]])
    assert torch.equal(arrays["index"], expected_index)
    for kind, pick in PICKS.items():
        metric: MinibatchCKA | None = None
        for batch in tasks["images"]:
            seen: list[Tensor] = []

            def keep(view: BlockView, seen: list[Tensor] = seen, pick: Any = pick) -> None:
                seen.extend(one.clone() for one in pick(view))

            vit.visit(batch["image"], [keep])
            metric = metric or MinibatchCKA([str(number) for number in range(len(seen))])
            metric.update(seen)
        assert metric is not None
        count = len(metric.names)
        assert arrays[kind].shape == (3, count, 6, 6)
        assert arrays[kind].dtype == torch.float32
        found = cka_matrix(arrays[kind], arrays[kind])
        for name, estimate in metric.compute().items():
            a, b = map(int, name.removeprefix("CKA ").split("->"))
            assert 0 < abs(float(found[a, b])) < 1
            assert float(found[a, b]) == pytest.approx(float(estimate.value), rel=1e-4)


def test_gram_matrices_stay_exact_beside_large_common_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(8, 5, 40, generator=generator, dtype=torch.float64) for _ in range(2))
    y += x
    # Before the shifts, which HSIC does not see, but which drown even float64.
    exact = [(z.flatten(1) @ z.flatten(1).T)[None, None] for z in (x, y)]
    x[..., 3] += 5000  # what a ViT does in some channels
    y[..., 8] -= 5000
    found = [gram_matrix(z.float())[None, None] for z in (x, y)]
    plain = [(z.float().flatten(1) @ z.float().flatten(1).T)[None, None] for z in (x, y)]
    wanted = float(cka_matrix(*exact))
    assert float(cka_matrix(*found)) == pytest.approx(wanted, abs=1e-4)
    assert abs(float(cka_matrix(*plain)) - wanted) > 0.02
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gram_matrix(x.float()), found[0][0, 0])


def official_cka(batches: list[tuple[Tensor, Tensor]]) -> float:
    """CKA as the official code of chapter 2 writes it: Gram matrices stretched to [0, 1], then without diagonal."""

    def stretched(x: Tensor) -> Tensor:
        gram = x.flatten(1) @ x.flatten(1).T
        gram = gram - gram.min()
        gram = gram / gram.max()
        return gram.fill_diagonal_(0)

    def hsic(k: Tensor, other: Tensor) -> float:
        n = len(k)
        ones = torch.ones(n, 1, dtype=k.dtype)
        result = torch.trace(k @ other)
        result += ((ones.T @ k @ ones @ ones.T @ other @ ones) / ((n - 1) * (n - 2))).item()
        result -= ((ones.T @ k @ other @ ones) * 2 / (n - 2)).item()
        return float(result / (n * (n - 3)))

    sums = [0.0, 0.0, 0.0]
    for x, y in batches:
        k, other = stretched(x), stretched(y)
        sums = [sum(pair) for pair in zip(sums, (hsic(k, k), hsic(k, other), hsic(other, other)), strict=True)]
    return sums[1] / (sums[0] * sums[2]) ** 0.5


def test_rescaled_gram_matrices_give_the_official_figure() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for scale in (1.0, 0.3, 5.0):  # batches of different spread, which the official code weighs alike
        x, y = (torch.randn(9, 5, 40, generator=generator, dtype=torch.float64) for _ in range(2))
        x, y = scale * (x + 1), scale * scale * (y + x) + 3
        pairs.append((x, y))

    def found(rescale: bool) -> float:
        ours, theirs = (
            torch.stack([gram_matrix(pair[side].float(), rescale)[None] for pair in pairs]) for side in (0, 1)
        )
        return float(cka_matrix(ours, theirs))

    assert found(True) == pytest.approx(official_cka(pairs), abs=1e-5)
    assert abs(found(False) - found(True)) > 0.01
    alike = torch.ones(6, 4)
    assert gram_matrix(alike, rescale=True).isfinite().all()


@torch.no_grad()
def test_the_option_reaches_all_gram_matrices_and_nothing_else() -> None:
    vit, tasks = lively_vit(), images(12, 6)
    plain, rescaled = (show(FeatureSimilarity(rescale), vit, tasks).compute() for rescale in (False, True))
    for kind in KINDS:
        ratio = rescaled[kind] / plain[kind]
        assert torch.allclose(ratio, ratio[..., :1, :1].expand_as(ratio), rtol=1e-3)  # one factor a matrix
        assert ratio[..., 0, 0].unique().numel() > 1
    torch.testing.assert_close(rescaled["ratio_mlp"], plain["ratio_mlp"])


def test_norm_ratios_by_hand() -> None:
    skip, branch = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)  # class, one register, two patches
    skip[:, :, 0] = torch.tensor([[6.0, 0, 3, 9], [0, 3, 6, 30]])
    branch[:, :, 1:] = 0
    branch[1, 3] = 0  # its ratio would be infinite
    sums, counts = norm_ratios(skip, branch, prefix=2)
    assert sums.tolist() == [6, 18, 27]
    assert counts.tolist() == [2, 3, 7]


@torch.no_grad()
def test_mean_ratios_of_a_model() -> None:
    vit, tasks = lively_vit(), images(8, 4)
    arrays = show(FeatureSimilarity(), vit, tasks).compute()
    every = torch.cat([batch["image"] for batch in tasks["images"]])
    for path in ("attention", "mlp"):
        for column, tokens in enumerate((slice(0, 1), slice(1, None), slice(None))):

            def ratio(view: BlockView, path: str = path, tokens: slice = tokens) -> Tensor:
                above, below = (view.parts[f"{path}_{side}"][:, tokens].norm(dim=-1) for side in ("skip", "branch"))
                return (above / below).mean()

            expected = torch.stack(tokens_of(vit, every, ratio))
            torch.testing.assert_close(arrays[f"ratio_{path}"][:, column], expected, rtol=1e-4, atol=0)


def test_a_short_last_batch_is_left_out_and_counted() -> None:
    vit = tiny_vit()
    arrays = show(FeatureSimilarity(), vit, images(15, 5)).compute()
    assert (arrays["index"].shape, int(arrays["dropped"])) == ((3, 5), 0)
    for count, dropped in ((14, 4), (12, 2)):
        state = show(FeatureSimilarity(), vit, images(count, 5))
        short = state.compute()
        assert (short["index"].shape, int(short["dropped"])) == ((2, 5), dropped)
        assert {short[kind].shape[0] for kind in KINDS} == {2}
        assert int(state.compute()["dropped"]) == dropped


def test_too_small_batches_are_named() -> None:
    with pytest.raises(UserError, match=r"at least 4, not 3: raise the batch size"):
        show(FeatureSimilarity(), tiny_vit(), images(9, 3))


def test_merging_equals_one_pass() -> None:
    callback, vit, tasks = FeatureSimilarity(), tiny_vit(), images(16, 4)
    whole = show(callback, vit, tasks).compute()
    parts = [show(callback, vit, {"images": half}) for half in (tasks["images"][:1], tasks["images"][1:])]
    parts[1].merge_state(parts[0])
    merged = parts[1].compute()
    for key in whole:
        torch.testing.assert_close(merged[key], whole[key])


def test_a_run_writes_arrays_and_figures(tmp_path: Path) -> None:
    callback = FeatureSimilarity()
    analyse(tmp_path, [callback], images(9, 4), {"tiny": tiny_vit(), "Random": noise()})
    assert not (tmp_path / "arrays" / "Random" / "similarity.npz").exists()
    with np.load(tmp_path / "arrays" / "tiny" / "similarity.npz") as arrays:
        assert arrays["index"].shape == (2, 4)
        assert arrays["norms"].shape == (2, 2 * DEPTH, 4, 4)
        assert arrays["ratio_mlp"].shape == (DEPTH, 3)
        assert all(np.isfinite(arrays[key]).all() for key in arrays)
    assert {row.metric for row in callback.results} >= {"norm ratio attention @1", "norm ratio mlp"}
    assert (tmp_path / "results" / "similarity.csv").is_file()
