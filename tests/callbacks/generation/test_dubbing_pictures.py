from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.generation import dubbing_pictures
from callbacks.generation.dubbing_pictures import (
    DRIVING,
    DUBBED,
    VIDEO,
    DubbingPictures,
    save_denoising,
    save_strips,
    shown_pair,
    spread,
    traced,
)
from tests.helpers.dubbed_pairs import Copier, PerfectDubber, faces_of, loader, pair, person
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError
from visionscapes.media.video import read_frames

FILMS = {"dubbed.mp4", "dubbed.gif"}


class Trace(NamedTuple):
    steps: list[int]
    noised: Tensor
    samples: Tensor


class Tracing(PerfectDubber):
    """Gives the lower half of the face it is given as estimate at every step, and noise above it."""

    def trace(self, faces, reference, frame_mel, *, steps, landmarks):
        assert torch.equal(faces, reference)
        assert not torch.is_grad_enabled()
        halves = (2 * faces[:, :, faces.shape[-1] // 2 :] - 1).expand(steps, -1, -1, -1, -1)
        return Trace(list(range(900, 900 - 100 * steps, -100)), 3 * torch.randn(halves.shape), halves)


def names(folder):
    return {path.name for path in (folder / "pictures").iterdir()}


def test_a_test_leaves_strips_denoising_and_films(tmp_path):
    quiet_trainer(tmp_path, [DubbingPictures(pairs=1)]).test(Tracing(), loader([(0, 0), (0, 1), (1, 0)]), verbose=False)
    assert names(tmp_path) == {"dubbed_reconstruction.png", "dubbed_cross.png", "denoising.png"} | FILMS
    for path in (tmp_path / "pictures").iterdir():
        assert path.stat().st_size > 5_000 or path.suffix == ".mp4"
    first = next(iter(read_frames(tmp_path / "pictures" / "dubbed.mp4")))
    assert first.shape == (256, 768, 3)  # of a pair of the setting "cross": the driving clip is the third
    with Image.open(tmp_path / "pictures" / "dubbed_cross.png") as image:
        assert image.width > 2 * image.height


def test_what_a_module_cannot_show_is_left_out(tmp_path):
    quiet_trainer(tmp_path, [DubbingPictures(film=False)]).test(Copier(), loader([(1, 1)]), verbose=False)
    assert names(tmp_path) == {"dubbed_reconstruction.png"}


def test_other_batches_and_processes_draw_nothing(tmp_path, monkeypatch):
    callback = DubbingPictures()
    quiet_trainer(tmp_path, [callback]).test(
        Copier(), DataLoader([{**pair(0, 0), "task": "other"}], batch_size=None), verbose=False
    )
    assert not (tmp_path / "pictures").exists()
    trainer = quiet_trainer(tmp_path, [callback])
    monkeypatch.setattr(type(trainer), "is_global_zero", False)
    trainer.test(Copier(), loader([(0, 0)]), verbose=False)
    assert not (tmp_path / "pictures").exists()


def test_rows_of_a_pair(tmp_path):
    cross, own = (shown_pair(faces_of(person(0, 1)), pair(0, audio)) for audio in (1, 0))
    assert list(own.rows) == [VIDEO, DUBBED]
    assert list(cross.rows) == [VIDEO, DUBBED, DRIVING]
    assert torch.equal(cross.rows[VIDEO], faces_of(person(0)))
    assert torch.equal(cross.rows[DRIVING], faces_of(person(1)))
    assert torch.equal(cross.rows[DUBBED], faces_of(person(0, 1)))
    without = pair(0, 1)
    del without["driving_faces"]
    assert list(shown_pair(faces_of(person(0)), without).rows) == [VIDEO, DUBBED]


def test_the_frame_that_is_traced_is_that_of_the_widest_mouth(monkeypatch):
    given = {}

    class Looking(Tracing):
        def trace(self, faces, reference, frame_mel, **options):
            given.update(faces=faces, mel=frame_mel)
            return super().trace(faces, reference, frame_mel, **options)

    for audio in (1, 0):
        batch = pair(0, audio)
        batch["frame_mel"] = torch.arange(len(person(0)), dtype=torch.float32)[None, :, None, None]
        with torch.no_grad():
            steps, pictures = traced(Looking(), batch, 5)
        assert steps == [900, 800, 700, 600, 500]
        assert pictures.shape == (2, 5, 3, 24, 48)
        assert float(pictures.min()) >= 0
        assert float(pictures.max()) <= 1
        at = int(person(audio).opening.argmax())
        assert float(given["mel"]) == at
        frame = at if audio == 1 else 0  # of a reconstruction the generator has the first frame alone
        torch.testing.assert_close(given["faces"], faces_of(person(0))[frame][None].float() / 255)


def test_frames_are_spread_over_the_clip():
    assert spread(60, 4) == [0, 20, 39, 59]
    assert spread(2, 3) == [0, 0, 1]
    assert spread(1, 2) == [0, 0]


def test_pictures_show_what_they_are_given(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(dubbing_pictures, "show", lambda panel, image: drawn.append(image))
    save_strips([shown_pair(faces_of(person(0, 1)), pair(0, 1))], 3, tmp_path / "strips.png")
    frames = spread(len(person(0)), 3)
    expected = [faces_of(clip)[at] for clip in (person(0), person(1), person(0, 1)) for at in frames]
    assert all(torch.equal((255 * image).round().byte(), face) for image, face in zip(drawn, expected, strict=True))
    drawn.clear()
    pictures = torch.rand(2, 4, 3, 8, 16)
    save_denoising([9, 6, 3, 0], pictures, tmp_path / "denoising.png")
    assert torch.equal(torch.stack(drawn), pictures.flatten(0, 1))
    with Image.open(tmp_path / "denoising.png") as image:
        assert np.asarray(image.convert("RGB")).std() >= 0
        assert image.width > 2 * image.height


def test_a_module_that_dubs_nothing_is_named(tmp_path):
    class Silent(PerfectDubber):
        def dub_batch(self, batch):
            return None

    with pytest.raises(UserError, match="DubbingPictures needs dubbed faces, which Silent does not return"):
        quiet_trainer(tmp_path, [DubbingPictures()]).test(Silent(), loader([(0, 0)]), verbose=False)
