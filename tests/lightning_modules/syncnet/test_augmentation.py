import torch

from lightning_modules.syncnet.augmentation import SyncAugmentation


def faces(count=6, size=16):
    return torch.rand(count, 5, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_nothing_changes_by_default():
    pictures, sound = faces(), torch.rand(6, 80, 16)
    assert torch.equal(SyncAugmentation().of_faces(pictures), pictures)
    assert torch.equal(SyncAugmentation().of_sound(sound), sound)


def test_the_frames_of_a_window_are_changed_alike_and_windows_differ():
    torch.manual_seed(0)
    still = faces()[:, :1].expand(-1, 5, -1, -1, -1)
    changed = SyncAugmentation(flip=True, colour=0.3, shift=0.2).of_faces(still)
    assert changed.shape == still.shape
    assert (changed == changed[:, :1]).all()
    assert ((changed >= 0) & (changed <= 1)).all()
    same = still[:1].expand(6, -1, -1, -1, -1)
    changed = SyncAugmentation(colour=0.3).of_faces(same)
    assert not torch.isclose(changed[0], changed[1]).all()


def test_half_of_the_windows_are_mirrored():
    torch.manual_seed(0)
    pictures = faces(200, 4)
    changed = SyncAugmentation(flip=True).of_faces(pictures)
    kept = (changed == pictures).flatten(1).all(1)
    mirrored = (changed == pictures.flip(-1)).flatten(1).all(1)
    assert (kept | mirrored).all()
    assert 70 < int(mirrored.sum()) < 130


def test_faces_are_displaced_by_whole_pixels():
    torch.manual_seed(0)
    pictures = faces(8)
    changed = SyncAugmentation(shift=0.125).of_faces(pictures)  # up to 2 of 16 pixels
    for before, after in zip(pictures, changed, strict=True):
        fits = [
            torch.equal(after[..., 2:-2, 2:-2], before.roll((dy, dx), (-2, -1))[..., 2:-2, 2:-2])
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        assert any(fits)


def test_sound_becomes_louder_or_softer_as_a_whole():
    torch.manual_seed(0)
    sound = torch.zeros(50, 80, 16)
    changed = SyncAugmentation(loudness=12.5).of_sound(sound)
    assert (changed == changed[:, :1, :1]).all()
    assert 0.8 < float(changed.abs().max()) <= 1  # 12.5 dB are a unit
