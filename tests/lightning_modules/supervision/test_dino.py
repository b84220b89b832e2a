import math

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from datamodules.images.views import RandomViews, Views
from lightning_modules.supervision.dino import DINO
from tests.helpers.tiny_vit import MODEL, TINY


class Recorded(DINO):
    """Draws its own views, and keeps student and teacher as they are before and after every step."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        views = RandomViews([32], small_views=2, small_size=16)
        return {"views": views(batch, torch.Generator().manual_seed(len(self.steps)))}

    def training_step(self, batch, batch_idx):
        before = weights(self.teacher, self.teacher_head)
        loss = super().training_step(batch, batch_idx)
        student = weights(self.network, self.head)
        self.steps.append((before, student, weights(self.teacher, self.teacher_head)))
        self.losses.append(loss.item())
        return loss


def weights(*networks):
    return torch.cat([parameter.detach().flatten() for network in networks for parameter in network.parameters()])


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    module = Recorded(MODEL, TINY, prototypes=32, hidden=16, momentum=0.9, warmup=1)
    module.steps, module.losses = [], []
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer.fit(module, DataLoader(torch.rand(16, 3, 32, 32), batch_size=4))
    return module, before


def test_the_teacher_follows_with_the_stated_momentum(trained):
    module, _ = trained
    assert len(module.steps) == 8
    for step, (before, student, after) in enumerate(module.steps):
        momentum = 1 - 0.1 * 0.5 * (1 + math.cos(math.pi * step / 8))
        torch.testing.assert_close(after, momentum * before + (1 - momentum) * student, atol=1e-6, rtol=1e-5)
    assert not torch.equal(module.steps[0][0], module.steps[-1][2])


def test_the_teacher_starts_as_the_student_and_gets_no_gradients(trained):
    module, before = trained
    for name, value in before.items():
        if name.startswith("network."):
            assert torch.equal(value, before[name.replace("network.", "teacher.", 1)])
        if name.startswith("head."):
            assert torch.equal(value, before["teacher_" + name])
    teacher = [*module.teacher.parameters(), *module.teacher_head.parameters()]
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in teacher)
    given = {id(p) for group in module.trainer.optimizers[0].param_groups for p in group["params"]}
    assert not given & {id(parameter) for parameter in teacher}


def test_the_student_learns_and_the_loss_stays_finite(trained):
    module, before = trained
    assert all(map(math.isfinite, module.losses))
    moved = [n for n, p in module.network.named_parameters() if not torch.equal(p, before[f"network.{n}"])]
    assert len(moved) == len(list(module.network.parameters()))


@pytest.mark.parametrize(("epochs", "still"), [(0, False), (1, True)])
def test_the_last_layer_of_the_head_is_held_still_at_the_start(epochs, still):
    module = DINO(MODEL, TINY, prototypes=8, hidden=16, freeze_last_layer=epochs)
    for parameter in module.head.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.on_after_backward()
    last = list(module.head.last_layer.parameters())
    assert [parameter.grad is None for parameter in last] == [still] * len(last)
    assert all(parameter.grad is not None for parameter in module.head.layers.parameters())


def test_what_is_kept_is_the_teacher(trained):
    module, _ = trained
    kept = module.backbone_state()
    assert all(torch.equal(value, module.teacher.vit.state_dict()[name]) for name, value in kept.items())
    assert any(not torch.equal(value, module.network.vit.state_dict()[name]) for name, value in kept.items())


@pytest.mark.parametrize(
    ("first", "warmup", "wanted"),
    [(None, 0, [0.07] * 4), (0.04, 3, [0.04, 0.055, 0.07, 0.07]), (0.04, 1, [0.04, 0.07, 0.07, 0.07])],
)
def test_the_teacher_warms_up(first, warmup, wanted):
    module = DINO(MODEL, TINY, 8, 16, teacher_temperature=0.07, first_teacher_temperature=first, teacher_warmup=warmup)
    assert [module.temperature(epoch) for epoch in range(4)] == pytest.approx(wanted)


def test_the_temperature_reaches_the_loss():
    views = torch.rand(2, 4, 3, 32, 32)
    losses = []
    for first in (None, 0.5):
        torch.manual_seed(0)
        module = DINO(MODEL, TINY, 8, 16, first_teacher_temperature=first, teacher_warmup=2).eval()
        module.log, module._follow = lambda *args, **kwargs: None, lambda: None
        with torch.no_grad():
            wanted = torch.stack([module.teacher_head(module.teacher(view)[0]) for view in views])
            said = torch.stack([module.head(module.network(view)[0]) for view in views]).flip(0)
            softened = (wanted / (first or 0.04)).softmax(2)
            losses.append(-(softened * (said / 0.1).log_softmax(2)).sum(2).mean())
            loss = module.training_step({"views": Views(list(views), torch.zeros(2, 4, 4))}, 0)
        torch.testing.assert_close(loss, losses[-1])
    assert not torch.isclose(*losses)


class Decaying(Recorded):
    def on_before_optimizer_step(self, optimizer):
        super().on_before_optimizer_step(optimizer)
        self.decays.append([group["weight_decay"] for group in optimizer.param_groups])


@pytest.mark.parametrize("decay_all", [True, False])
def test_weight_decay_follows_its_cosine(decay_all):
    module = Decaying(MODEL, TINY, prototypes=8, hidden=16, last_weight_decay=0.4, decay_all=decay_all)
    module.steps, module.losses, module.decays = [], [], []
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(torch.rand(16, 3, 32, 32), batch_size=4))
    wanted = [0.4 - 0.36 * 0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert [decays[0] for decays in module.decays] == pytest.approx(wanted)
    assert [decays[1:] for decays in module.decays] == [[] if decay_all else [0.0]] * 4


def test_drop_path_is_the_students_alone():
    module = DINO(MODEL, TINY, prototypes=8, hidden=16, drop_path=0.3)
    rates = [
        getattr(network.vit.blocks[-1].drop_path1, "drop_prob", 0.0) for network in (module.network, module.teacher)
    ]
    assert rates == [pytest.approx(0.3), 0.0]


def test_prototypes_may_leave_length_1():
    for normalised in (True, False):
        module = DINO(MODEL, TINY, prototypes=8, hidden=16, bottleneck=6, norm_last_layer=normalised)
        assert module.head.last_layer.weight_g.requires_grad is not normalised
        assert module.head.last_layer.weight_v.shape == (8, 6)
