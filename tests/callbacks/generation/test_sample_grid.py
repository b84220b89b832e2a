import pytest
import torch
from PIL import Image

from callbacks.generation import sample_grid
from callbacks.generation.sample_grid import SampleGrid
from tests.callbacks.generation.cases import Skipping, TinyPairs, run_test, sample
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def saved(monkeypatch):
    drawn = []

    def keep(columns, path):
        drawn.append((columns, path))

    monkeypatch.setattr(sample_grid, "save_columns", keep)
    return drawn


def test_columns_of_the_test(tmp_path, monkeypatch):
    drawn = saved(monkeypatch)
    run_test(tmp_path, [SampleGrid(images=5)], Skipping(shift=0, strength=0))
    ((columns, path),) = drawn
    assert path == tmp_path / "pictures" / "translations.png"
    assert list(columns) == ["input", "reconstruction", "residual", "image", "truth"]
    assert {images.shape for images in columns.values()} == {(5, 3, 16, 16)}
    assert torch.equal(columns["truth"][4], sample(4)["image"])
    # In pictures the residual stands on grey.
    together = columns["reconstruction"] + columns["residual"] - 0.5
    torch.testing.assert_close(together, columns["image"])


def test_generators_without_parts(tmp_path, monkeypatch):
    drawn = saved(monkeypatch)
    run_test(tmp_path, [SampleGrid()], Skipping(parts=False))
    assert list(drawn[0][0]) == ["input", "image", "truth"]


def test_training_shows_the_same_samples_with_the_same_noise(tmp_path, monkeypatch):
    drawn = saved(monkeypatch)
    trainer = quiet_trainer(tmp_path, [SampleGrid(images=2, every_n_epochs=2)], max_epochs=4, num_sanity_val_steps=1)
    trainer.fit(Skipping(), datamodule=TinyPairs())
    assert [path.name for _, path in drawn] == ["epoch_0002.png", "epoch_0004.png"]
    assert torch.equal(drawn[0][0]["image"], drawn[1][0]["image"])
    assert not torch.equal(drawn[0][0]["image"], drawn[0][0]["truth"])


def test_the_picture_is_large_enough(tmp_path):
    run_test(tmp_path, [SampleGrid()], data=TinyPairs(sizes=(64,)))
    path = tmp_path / "pictures" / "translations.png"
    with Image.open(path) as image:
        assert image.width > 300


def test_wrong_options():
    with pytest.raises(UserError, match="images is 0"):
        SampleGrid(images=0)
