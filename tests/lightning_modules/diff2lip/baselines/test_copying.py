import pytest
import torch

from lightning_modules import Copying
from networks.face_region import FaceRegion
from tests.helpers.quiet_trainer import quiet_trainer
from tests.lightning_modules.diff2lip.baselines import cases
from visionscapes.errors import UserError


def test_the_reference_stands_below_the_input():
    faces, reference = torch.rand(2, 6, 3, cases.SIZE, cases.SIZE, generator=torch.Generator().manual_seed(0))
    dubbed = Copying(cases.SIZE).dub(faces, reference, torch.zeros(6, 80, 16))
    half = cases.SIZE // 2
    assert torch.equal(dubbed.faces[..., :half, :], faces[..., :half, :])
    assert torch.allclose(dubbed.faces[..., half:, :], reference[..., half:, :], atol=1e-6)


def test_a_region_alone_is_copied():
    region = FaceRegion(left=0.25, top=0.5, right=0.75, bottom=1.0)
    faces, reference = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    copied = Copying(16, region=region).dub(faces, reference, torch.zeros(1, 80, 16)).faces
    assert torch.equal(copied[0, 0, 12:, 4:12], torch.ones(4, 8))
    assert copied.sum() == 3 * 4 * 8


@pytest.mark.parametrize("setting", ["reconstruction", "cross"])
def test_settings(setting):
    """The first frame over and over, or the video as it was."""
    batch = cases.pair(setting)
    faces = batch["faces"][0].float() / 255
    dubbed = Copying(cases.SIZE).test_step(batch, 0)
    expected = faces[:1].expand_as(faces) if setting == "reconstruction" else faces
    assert torch.allclose(dubbed.faces, expected, atol=1e-6)


def test_training_is_refused(tmp_path):
    trainer = quiet_trainer(tmp_path, [], max_steps=1)
    with pytest.raises(UserError, match="Copying learns nothing: test it"):
        trainer.fit(Copying(cases.SIZE), [cases.training_batch()])
