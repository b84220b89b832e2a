import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.detection.scene_crops import SceneCrops
from lightning_modules import BoxDiffusionTraining
from lightning_modules.gen2det.diffusion_module import masked_error, signal_weights
from networks.box_diffusion import painted_boxes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

SMALL = {"classes": ["a", "b"], "channels": [8, 16]}
BOX = torch.tensor([[4.0, 4.0, 12.0, 14.0]])


def test_errors_count_within_masks_alone():
    image, mask = torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)
    mask[0, :, 0], mask[1, :, 0, 0] = 1, 1
    estimate = torch.full_like(image, 9.0)
    estimate[0, :, 0], estimate[1, :, 0, 0] = 2.0, 1.0
    found = masked_error(estimate, image, mask, torch.tensor([1.0, 5.0]))
    assert found.item() == pytest.approx((4 * 4 + 1 * 5) / 5)  # five pixels, whatever there are channels
    assert masked_error(estimate, image, 0 * mask, torch.ones(2)).item() == 0


def test_weights_are_signal_by_noise_within_bounds():
    found = signal_weights(torch.tensor([0.2, 0.75, 0.99, 1.0]))
    assert found.tolist() == pytest.approx([1, 3, 5, 5])


def batch(task=None, size=16, count=4):
    """A dark square of class b on a bright field: what is in the box can be known."""
    image = torch.full((count, 3, size, size), 0.9)
    image[:, :, 4:14, 4:12] = 0.1
    planes = painted_boxes(BOX, [1], 2, (size, size)).expand(count, -1, -1, -1)
    return {"image": image, "planes": planes} | ({} if task is None else {"task": task})


def test_the_loss_is_that_of_the_estimate():
    torch.manual_seed(0)
    module, given = BoxDiffusionTraining(**SMALL), batch()
    step, noise = torch.tensor([0, 10, 500, 999]), torch.randn(4, 3, 16, 16)
    module.network.forward = lambda noised, step, asked: torch.zeros_like(noised)
    weights = signal_weights(module.network.alphas[step])
    assert module.loss(given, step, noise).item() == pytest.approx(0.8**2 * weights.mean().item(), rel=1e-5)
    module.network.forward = lambda noised, step, asked: 2 * given["image"] - 1
    assert module.loss(given, step, noise).item() == 0


def test_it_learns_what_is_in_the_boxes_and_says_how_well(tmp_path):
    torch.manual_seed(0)
    module = BoxDiffusionTraining(**SMALL, lr=0.01, warmup=2)
    held_out = DataLoader([batch("boxes"), batch("other")], batch_size=None)
    trainer = quiet_trainer(tmp_path, [], num_sanity_val_steps=0, max_epochs=1)
    (before,) = trainer.validate(module, held_out, verbose=False)
    trainer.fit(module, DataLoader([batch()] * 40, batch_size=None), held_out)
    after = trainer.callback_metrics["val/loss"]
    assert after < 0.3 * before["val/loss"]
    (again,) = trainer.validate(module, held_out, verbose=False)
    assert again["val/loss"] == pytest.approx(float(after))


def test_what_is_kept_makes_the_network_again():
    module = BoxDiffusionTraining(**SMALL)
    assert module.backbone_state().keys() == module.network.state_dict().keys()
    assert module.backbone_options() == {"classes": "a,b", "channels": "8,16", "blocks": "1", "cell": "4"}


def test_data_of_other_classes_are_refused(tmp_path):
    data = SceneCrops(scenes=2, test_scenes=1, image_size=32, crop_size=16, batch_size=2, objects=[3, 3])
    with pytest.raises(UserError, match=r"give --model\.init_args\.classes=\[fish,car"):
        quiet_trainer(tmp_path, []).fit(BoxDiffusionTraining(**SMALL), datamodule=data)
