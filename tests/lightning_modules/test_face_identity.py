import math

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_modules.face_identity import FaceIdentity, info_nce
from tests.helpers.quiet_trainer import quiet_trainer


def test_equal_cosines_cost_the_logarithm_of_the_people():
    same = torch.ones(5, 3) / 3**0.5
    assert info_nce(same, same, 0.1) == pytest.approx(math.log(5), rel=1e-5)


def test_two_people_by_hand():
    first, second = torch.eye(2), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    rows = [math.log(math.exp(0.6) + math.exp(0.0)) - 0.6, math.log(math.exp(0.8) + math.exp(1.0)) - 1.0]
    columns = [math.log(math.exp(0.6) + math.exp(0.8)) - 0.6, math.log(math.exp(0.0) + math.exp(1.0)) - 1.0]
    assert info_nce(first, second, 1.0) == pytest.approx(sum(rows + columns) / 4, rel=1e-6)


def people(count=6, pictures=4, seed=0):
    """People of one colour each, in noise."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(count, 1, 3, 1, 1, generator=torch.Generator().manual_seed(5))
    return 0.7 * colours + 0.3 * torch.rand(count, pictures, 3, 64, 64, generator=generator)


def test_learns_who_is_who_and_says_how_well(tmp_path):
    torch.manual_seed(0)
    module = FaceIdentity(warmup=2)
    shown, held_out = people(), people(seed=1)
    training = DataLoader([{"image": shown[:, k : k + 2]} for k in (0, 2)] * 10, batch_size=None)
    label = torch.arange(6).repeat_interleave(4)
    batches = [
        {"task": "people", "image": held_out.flatten(0, 1), "label": label},
        {"task": "other", "image": torch.zeros(2, 3, 64, 64), "label": label[:2]},
    ]
    trainer = quiet_trainer(tmp_path, [], num_sanity_val_steps=0)
    trainer.fit(module, training, DataLoader(batches, batch_size=None))
    assert trainer.callback_metrics["val/AUC"] > 0.95
    (found,) = trainer.test(module, DataLoader(batches, batch_size=None), verbose=False)
    assert found["test/AUC"] == pytest.approx(float(trainer.callback_metrics["test/AUC"]))
    assert found["test/same"] > found["test/other"]


def test_what_is_kept_is_the_network_alone():
    module = FaceIdentity()
    assert module.backbone_state().keys() == module.network.state_dict().keys()
