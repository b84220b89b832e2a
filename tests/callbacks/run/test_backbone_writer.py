import pytest
import torch
from pytorch_lightning import LightningModule, seed_everything
from safetensors import safe_open
from torch.utils.data import DataLoader

from callbacks.run.backbone_writer import BackboneWriter
from callbacks.run.run_record import ROOT, git_state
from lightning_modules.supervision.vit import MEAN, STD, TrainableViT
from networks.vit_features import ViTFeatures
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny_vit import MODEL, TINIEST
from visionscapes.errors import UserError


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = TrainableViT(MODEL, TINIEST)

    def training_step(self, batch, batch_idx):
        return self.network(batch)[1].square().mean()

    def backbone_state(self):
        return self.network.vit.state_dict()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Plain(LightningModule):
    """Has no backbone, and fails where it is trained."""

    def training_step(self, batch, batch_idx): ...

    def configure_optimizers(self):
        raise AssertionError


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(tmp_path / "bin" / "cli.py"), "fit", "--config", "a file.yaml"])
    monkeypatch.chdir(ROOT)
    seed_everything(7, verbose=False)
    module = Module()
    trainer = quiet_trainer(tmp_path, [BackboneWriter()])
    trainer.fit(module, DataLoader(torch.rand(6, 3, 16, 16), batch_size=2))
    return module, tmp_path / "backbone.safetensors"


def test_the_file_is_half_precision_and_says_how_it_was_made(written):
    module, path = written
    with safe_open(path, "pt") as file:
        assert {key: value for key, value in file.metadata().items() if key != "crc32"} == {
            "command": "python cli.py fit --config 'a file.yaml'",
            "seed": "7",
            "commit": str((git_state(ROOT) or {}).get("commit")),
            "steps": "3",
        }
        assert set(file.keys()) == set(module.backbone_state())
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118 (no mapping)


def test_the_file_loads_as_features(written):
    module, path = written
    features = ViTFeatures(MODEL, str(path), model_args=TINIEST, mean=list(MEAN), std=list(STD))
    for name, value in module.backbone_state().items():
        torch.testing.assert_close(features.vit.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    assert features(torch.rand(1, 3, 16, 16)).shape == (1, 16, 2, 2)


def test_a_module_without_a_backbone_is_refused_before_it_is_trained(tmp_path):
    with pytest.raises(UserError, match=r"BackboneWriter .* Plain trains none"):
        quiet_trainer(tmp_path, [BackboneWriter()]).fit(Plain(), DataLoader(torch.rand(6, 3, 16, 16), batch_size=2))
