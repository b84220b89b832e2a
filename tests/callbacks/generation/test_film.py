import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.generation.film import SHOWN, SMALL, beside, save_film, save_gif
from visionscapes.errors import UserError
from visionscapes.media.sound import read_sound
from visionscapes.media.video import probe, read_frames


def clips(frames=12, size=16):
    """A grey clip that gets lighter, and a red one."""
    levels = (torch.arange(frames) * 10).clamp(max=240).to(torch.uint8)
    grey = levels[:, None, None, None].expand(frames, 3, size, size)
    red = torch.tensor([200, 0, 0], dtype=torch.uint8)[None, :, None, None].expand(frames, 3, size, size)
    return [grey, red]


def test_clips_stand_beside_each_other_in_their_order():
    pictures = beside(clips(), 32)
    assert pictures.shape == (12, 32, 64, 3)
    assert (pictures[5, :, :32] == 50).all()
    assert (pictures[5, :, 32:] == [200, 0, 0]).all()


def test_a_film_has_its_frames_at_25_a_second_and_its_sound(tmp_path):
    tone = torch.sin(torch.arange(12 * 640) * 0.2) / 2
    save_film(clips(), tone, tmp_path / "a.mp4")
    info = probe(tmp_path / "a.mp4")
    frames = list(read_frames(tmp_path / "a.mp4"))
    assert len(frames) == 12
    assert frames[0].shape == (SHOWN, 2 * SHOWN, 3)
    assert info.rate == pytest.approx(25)
    assert np.abs(frames[5][:, :200].astype(int) - 50).mean() < 4
    sound = read_sound(tmp_path / "a.mp4")
    assert np.corrcoef(sound[1000:7000], tone[1000:7000])[0, 1] > 0.9


def test_a_small_film_moves_and_keeps_its_size(tmp_path):
    save_gif(clips(60), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0
        durations = [(image.seek(at), image.info["duration"])[1] for at in range(image.n_frames)]
        assert sum(durations) == 2000  # frames that are alike are one
        first_middle_last = (0, image.n_frames // 2, image.n_frames - 1)
        shown = [np.asarray((image.seek(at), image.convert("RGB"))[1])[5, 5, 0] for at in first_middle_last]
    assert shown[0] < shown[1] < shown[2]


def test_a_film_that_is_hard_to_compress_keeps_its_size(tmp_path):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (50, 3, 96, 96), generator=generator, dtype=torch.uint8)
    save_gif([noise, noise], tmp_path / "noise.gif")
    assert (tmp_path / "noise.gif").stat().st_size > 1_000_000
    with Image.open(tmp_path / "noise.gif") as image:
        assert image.size == (2 * SMALL, SMALL)


def test_where_nothing_can_be_written_it_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        save_film(clips(), torch.zeros(100), tmp_path / "file" / "a.mp4")


def test_a_slow_film_is_silent_and_shows_all_of_its_frames(tmp_path):
    save_film(clips(), None, tmp_path / "a.mp4", rate=2)
    info = probe(tmp_path / "a.mp4")
    assert info.rate == pytest.approx(2)
    assert not info.has_sound
    save_gif(clips(), tmp_path / "a.gif", rate=2)
    with Image.open(tmp_path / "a.gif") as image:
        durations = [(image.seek(at), image.info["duration"])[1] for at in range(image.n_frames)]
    assert durations == [500] * 12
