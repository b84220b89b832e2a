import pytest
import torch

from lightning_modules.supervision.schedule import adamw_with_cosine, cosine_schedule


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
