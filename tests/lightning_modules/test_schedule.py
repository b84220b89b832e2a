import pytest
import torch

from lightning_modules.schedule import adamw_with_cosine, cosine_schedule, decayed_apart, half_cosine


def test_end_points():
    assert cosine_schedule(0, 1000, warmup=100) == pytest.approx(0.01)
    assert cosine_schedule(99, 1000, warmup=100) == 1
    assert cosine_schedule(100, 1000, warmup=100) == 1
    assert cosine_schedule(550, 1000, warmup=100) == pytest.approx((1 + 0.01) / 2)
    assert cosine_schedule(1000, 1000, warmup=100) == pytest.approx(0.01)
    assert cosine_schedule(5000, 1000, warmup=100) == pytest.approx(0.01), "it stays there"
    assert cosine_schedule(1000, 1000, warmup=100, floor=0.2) == pytest.approx(0.2)


def test_it_rises_then_falls():
    shares = [cosine_schedule(step, 200, warmup=20) for step in range(200)]
    assert shares[:20] == sorted(shares[:20])
    assert shares[20:] == sorted(shares[20:], reverse=True)


@pytest.mark.parametrize(("steps", "warmup"), [(10, 10), (5, 10), (1, 0), (0, 0), (float("inf"), 3)])
def test_awkward_lengths(steps, warmup):
    assert all(0 < cosine_schedule(step, steps, warmup) <= 1 for step in range(20))


def test_the_optimiser_follows_it():
    weight = torch.nn.Parameter(torch.ones(2))
    made = adamw_with_cosine([weight], lr=0.5, weight_decay=0.04, warmup=2, steps=8)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert made["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.5 * cosine_schedule(step, 8, 2) for step in range(9)])


def test_half_cosine():
    assert [half_cosine(0.2, 1.0, share) for share in (0, 0.5, 1, 7)] == pytest.approx([0.2, 0.6, 1, 1])


def test_the_optimiser_takes_floor_betas_and_groups():
    modules = torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)
    modules[1].bias.requires_grad_(False)
    groups = decayed_apart(modules)
    assert [len(group["params"]) for group in groups] == [1, 2], "a frozen bias is left out"
    made = adamw_with_cosine(groups, 0.5, 0.04, warmup=0, steps=4, floor=0.0, betas=(0.9, 0.95), eps=1e-6)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.04, 0.0]
    assert {(group["betas"], group["eps"]) for group in optimizer.param_groups} == {((0.9, 0.95), 1e-6)}
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0, 0])


def test_empty_groups_are_left_out():
    assert [len(group["params"]) for group in decayed_apart([torch.nn.LayerNorm(2)])] == [2]
