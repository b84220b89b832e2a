import pytest
import torch

from lightning_modules.lsr.people import evaluating, subject_shots, unit
from tests.lightning_modules.lsr.cases import SIZE, lsr, subject_of
from visionscapes.errors import UserError


def test_reenacting_leaves_the_mode_as_it_was():
    module = lsr().train()
    module.reenact(*torch.rand(3, 2, 3, SIZE, SIZE))
    assert module.generator.training
    with evaluating(module.generator):
        assert not module.generator.training
    assert module.generator.training


def test_images_of_another_size():
    module = lsr()
    right, wrong = torch.rand(2, 3, SIZE, SIZE), torch.rand(2, 3, 20, SIZE)
    for images in ((wrong, right, right), (right, wrong, right), (right, right, wrong)):
        with pytest.raises(UserError, match=r"images of 16 x 20 pixels.*squares of 16"):
            module.reenact(*images)


def test_images_of_another_shape():
    module, right = lsr(), torch.rand(2, 3, SIZE, SIZE)
    for wrong in (right[0], right[:, :1], right[None]):
        for images in ((wrong, right, right), (right, wrong, right), (right, right, wrong)):
            with pytest.raises(UserError, match=r"images of shape .*\(N, 3, 16, 16\) are needed"):
                module.reenact(*images)
    with pytest.raises(UserError, match="2 shots and 1 drawings of landmarks"):
        module.reenact(right, right[:1], right)
    for meet in (module.meet, module.meet_tuned):
        with pytest.raises(UserError, match="give one shot at least"):
            meet(right[:0], right[:0])


def test_pictures_of_bytes_are_what_they_are_in_shares():
    """As `draw_all` makes them and batches have them."""
    module = lsr()
    images = torch.randint(0, 256, (3, 2, 3, SIZE, SIZE), dtype=torch.uint8)
    shares = images / 255
    assert torch.equal(module.reenact(*images).images, module.reenact(*shares).images)
    tuned = [module.meet_tuned(shots, drawings) for shots, drawings in (images[:2], shares[:2])]
    assert torch.equal(*(each.reenacted(images[2]).images for each in tuned))


def test_shots_of_a_subject():
    batch = subject_of(sources=6)
    shots, drawings = subject_shots(batch, 4)
    assert torch.equal(shots, batch["shots"][0][[0, 1, 3, 4]] / 255)
    assert torch.equal(drawings, batch["shot_drawings"][0][[0, 1, 3, 4]] / 255)
    with pytest.raises(UserError, match=r"7 shots are asked for, and anna has 6.*--model\.evaluation\.shots"):
        subject_shots(batch, 7)
    assert torch.equal(unit(shots), shots)


def test_images_are_made_in_parts():
    whole, parts = (lsr(evaluation={"batch": batch}).eval() for batch in (32, 2))
    random = torch.Generator().manual_seed(0)
    shots, drawings, drawing = torch.rand(3, 5, 3, SIZE, SIZE, generator=random)
    ours, theirs = (each.reenact(shots, drawings, drawing) for each in (whole, parts))
    assert torch.allclose(ours.images, theirs.images, atol=1e-5)
    assert torch.allclose(ours.layout, theirs.layout, atol=1e-5)
    assert ours.images.min() >= 0
    assert ours.images.max() <= 1
    assert whole.reenact(shots, drawings, drawing[:0]).images.shape == (0, 3, SIZE, SIZE)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_images_that_hold_no_numbers(value):
    """One NaN would make a head that is grey all over, by way of the norms."""
    module, right = lsr(), torch.rand(2, 3, SIZE, SIZE)
    wrong = right.clone()
    wrong[1, 2, 3, 4] = value
    for images in ((wrong, right, right), (right, wrong, right), (right, right, wrong)):
        with pytest.raises(UserError, match=r"NaN or infinite.* of 2 images, the first of them number 2.*\[0, 1\]"):
            module.reenact(*images)
    for images in ((wrong, right), (right, wrong)):
        with pytest.raises(UserError, match="NaN or infinite"):
            module.meet_tuned(*images)
