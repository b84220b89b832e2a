"""Faults that the pretended device has to find, and what it has to let pass; run by tests/test_pretended_cuda.py."""

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tests.helpers.pretended_cuda import findings
from tests.helpers.pretended_cuda.findings import GENERATOR, MIXED, NO_KERNEL, VARYING, WAITING
from tests.helpers.quiet_trainer import quiet_trainer


@pytest.fixture(autouse=True)
def _nothing_found_yet():
    findings.found.clear()
    yield
    findings.found.clear()


def found(kind):
    return {finding.what for finding in findings.found if finding.kind == kind}


def kinds():
    return {finding.kind for finding in findings.found}


def on_gpu(*shape):
    return torch.rand(*shape, device="cuda")


class Regression(LightningModule):
    """A small network; what it does with its noise, or after its step, is the fault."""

    def __init__(self, noise=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
        self.noise = noise or (lambda x: torch.zeros_like(x))

    def training_step(self, batch, batch_idx):
        assert batch.is_cuda
        assert self.device.type == "cuda"
        return self.layers(batch + self.noise(batch)).square().mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)


def trained(folder, noise=None):
    torch.manual_seed(0)
    module, batches = Regression(noise), list(torch.rand(4, 5, 3))
    quiet_trainer(folder, []).fit(module, DataLoader(batches, batch_size=None))
    return module


def trained_by_hand():
    """The same training without the Trainer and without the device."""
    torch.manual_seed(0)
    module, batches = Regression(), list(torch.rand(4, 5, 3))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    for batch in batches:
        optimizer.zero_grad()
        module.layers(batch).square().mean().backward()
        optimizer.step()
    return module


def test_a_clean_training_is_clean_and_gives_the_weights_of_the_cpu(tmp_path):
    module = trained(tmp_path)
    assert not kinds() & set(findings.FAULTS)
    assert [each for each in findings.found if each.kind == WAITING and each.phase == "training"] == []
    expected = trained_by_hand().state_dict()
    state = module.state_dict()
    assert all(torch.equal(state[name].cpu(), expected[name]) for name in expected)


def test_noise_that_was_drawn_on_the_cpu(tmp_path):
    trained(tmp_path, lambda x: torch.rand(x.shape))
    (what,) = found(MIXED)
    assert what.startswith("aten.add.Tensor of cuda [(5, 3)] and cpu [(5, 3)]")
    (place,) = {finding.where for finding in findings.found if finding.kind == MIXED}
    assert place.startswith("tests/helpers/planted_faults.py:")
    assert {finding.module for finding in findings.found if finding.kind == MIXED} == {"Regression"}


def test_strict_raises_what_cuda_would(monkeypatch):
    monkeypatch.setattr(findings, "strict", [True])
    with pytest.raises(RuntimeError, match="same device"):
        on_gpu(3) + torch.rand(3)


def test_a_generator_of_the_cpu():
    torch.rand(3, device="cuda", generator=torch.Generator())
    assert found(GENERATOR) == {"aten.rand.generator"}


def test_an_operator_that_cuda_has_not():
    with torch.library._scoped_library("planted", "DEF") as library:
        library.define("only_here(Tensor x) -> Tensor")
        library.impl("only_here", lambda x: x + 1, "CPU")
        torch.ops.planted.only_here(on_gpu(2))
    assert found(NO_KERNEL) == {"planted.only_here.default"}


def test_sums_in_an_order_that_varies():
    F.grid_sample(on_gpu(1, 1, 4, 4).requires_grad_(), on_gpu(1, 2, 2, 2), align_corners=False).sum().backward()
    on_gpu(4).scatter_add_(0, torch.zeros(2, dtype=torch.int64, device="cuda"), on_gpu(2))
    torch.arange(3, device="cuda").cumsum(0)  # of whole numbers: the same in any order
    assert found(VARYING) == {"grid_sampler_2d_backward", "scatter_add_"}


def test_determinism_is_refused_by_name_or_had():
    torch.use_deterministic_algorithms(True)
    try:
        on_gpu(4).scatter_add_(0, torch.zeros(2, dtype=torch.int64, device="cuda"), on_gpu(2))
        assert found(VARYING) == set()
        sampled = F.grid_sample(on_gpu(1, 1, 4, 4).requires_grad_(), on_gpu(1, 2, 2, 2), align_corners=False)
        with pytest.raises(RuntimeError, match="grid_sampler_2d_backward_cuda does not have a deterministic"):
            sampled.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("wait", "operator"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool(x[0] > 0), "_local_scalar_dense"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: x.cpu(), "_to_copy"),
        (lambda x: torch.zeros(3).copy_(x), "copy_"),
        (lambda x: x[x > 0], "index by a mask"),
        (lambda x: torch.where(x > 0), "nonzero"),
        (lambda x: x.unique(), "_unique2"),
    ],
)
def test_waiting(wait, operator):
    wait(on_gpu(3))
    assert operator in found(WAITING)
    assert kinds() == {WAITING}


def test_numpy_wants_the_cpu():
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
        on_gpu(2).numpy()


class Preprocessor(nn.Module):
    """Keeps the device that it was built on, as mmengine's does."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.kept = self.scale.device

    def forward(self, x):
        return x.to(self.kept) * self.scale


def test_a_device_that_is_kept():
    Preprocessor().to("cuda")(on_gpu(2, 3))
    assert MIXED in kinds()


def test_what_cuda_allows():
    x = on_gpu(4, 3)
    x[torch.tensor([0, 2])] = 0.0  # indices of the CPU
    x[x > 0.5] = 1.0  # a number where a mask is set: no place is counted
    x * torch.tensor(2.0)  # a number
    assert kinds() == set()


def test_files_hold_tensors_of_the_cpu(tmp_path):
    torch.save({"x": on_gpu(2)}, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt", weights_only=True)["x"].device.type == "cpu"
