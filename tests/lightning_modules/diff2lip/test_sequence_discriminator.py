import torch

from lightning_modules.diff2lip.sequence_discriminator import SequenceDiscriminatorOptions

FRAMES = torch.rand(2, 5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MASK = torch.zeros(2, 5, 1, 16, 16)
MASK[..., 6:, :] = 1


def test_it_judges_five_frames_at_once():
    options = SequenceDiscriminatorOptions(base=4, layers=2)
    (maps,) = options.build()(options.seen(FRAMES, MASK, "lower"))
    assert maps[-1].shape[:2] == (2, 1)
    changed = FRAMES.clone()
    changed[:, 3] = 0
    (other,) = options.build()(options.seen(changed, MASK, "lower"))
    assert not torch.equal(maps[-1], other[-1])


def test_it_sees_the_generated_part_or_all():
    assert torch.equal(SequenceDiscriminatorOptions().seen(FRAMES, MASK, "lower"), FRAMES[..., 8:, :].flatten(1, 2))
    assert torch.equal(SequenceDiscriminatorOptions().seen(FRAMES, MASK, "landmarks"), (FRAMES * MASK).flatten(1, 2))
    whole = SequenceDiscriminatorOptions(judged="region").seen(FRAMES, MASK, "lower")
    assert torch.equal(whole, FRAMES.flatten(1, 2))


def test_there_may_be_several():
    options = SequenceDiscriminatorOptions(base=4, layers=1, scales=2, norm="spectral")
    assert len(options.build()(options.seen(FRAMES, MASK, "lower"))) == 2
