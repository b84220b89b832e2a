import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch.utils.data import DataLoader

from callbacks.dense.feature_writer import FeatureWriter, write_picture
from networks.cells import Cells
from tests.helpers.dense_case import Pooled, TinyModule
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def predict(folder, paths, callback, module=None):
    images = [torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(n)) for n in range(len(paths))]
    batches = [{"task": "predict", "image": i, "path": [str(p)]} for i, p in zip(images, paths, strict=True)]
    loader = DataLoader(batches, batch_size=None)
    returned = quiet_trainer(folder, [callback]).predict(module or TinyModule(), loader)
    return images, returned


def test_writes_features_metadata_and_pictures(tmp_path, capsys):
    paths = ["/data/a/cat.jpg", "/data/b/cat.jpg", "/data/b/cat.png"]
    images, returned = predict(tmp_path, paths, FeatureWriter(dtype="float32"))
    files = sorted((tmp_path / "features").rglob("*.safetensors"))
    assert len(files) == len({file.relative_to(tmp_path) for file in files}) == 3
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 3
    assert not returned  # predictions are on the disk, not in memory
    found = {}
    for file in files:
        with safe_open(file, "pt") as content:
            found[content.metadata()["path"]] = content.get_tensor("features"), content.metadata()
    for path, image in zip(paths, images, strict=True):
        features, metadata = found[path]
        torch.testing.assert_close(features, Pooled()(image)[0])
        assert metadata == {"method": "TinyModule", "path": path, "image_height": "24", "image_width": "32"}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "feature files" in line]
    assert line.startswith("3 feature files (float32, the last (6, 6, 8)) in ")


def test_half_precision_without_pictures(tmp_path):
    predict(tmp_path, ["/data/cat.jpg"], FeatureWriter(pictures=False))
    (file,) = (tmp_path / "features").rglob("*.safetensors")
    with safe_open(file, "pt") as content:
        assert content.get_tensor("features").dtype == torch.float16
    assert not (tmp_path / "pictures").exists()


class Placed(TinyModule):
    """Says that its cells of four pixels begin at the third: of 24 x 32 pixels they cover 22 x 30."""

    def predict_step(self, batch, batch_idx):
        return self.pooled(batch["image"][..., 2:, 2:])

    def cells(self):
        return Cells(2, 4)


@pytest.mark.parametrize("grid", ["official", "covered"])
def test_where_cells_lie_is_written_and_drawn(tmp_path, grid):
    predict(tmp_path, ["/data/cat.jpg"], FeatureWriter(grid=grid), Placed())
    (file,) = (tmp_path / "features").rglob("*.safetensors")
    with safe_open(file, "pt") as content:
        assert (content.metadata()["cell_start"], content.metadata()["cell_size"]) == ("2", "4")
        assert content.get_tensor("features").shape == (6, 5, 7)
    (picture,) = (tmp_path / "pictures").rglob("*.png")
    with Image.open(picture) as image:
        right = np.asarray(image.convert("RGB"))[:, image.width // 2 + 4 :]  # 320 x 240, ten times the image
    white = (right == 255).all(2)
    columns, rows = np.flatnonzero(~white.all(0)), np.flatnonzero(~white.all(1))
    expected = (0, 319, 0, 239) if grid == "official" else (20, 299, 20, 219)
    assert (columns[0], columns[-1], rows[0], rows[-1]) == expected


def test_the_covered_grid_needs_a_module_that_says_where_its_cells_lie(tmp_path):
    with pytest.raises(UserError, match="TinyModule, does not say which pixels its cells cover"):
        predict(tmp_path, ["/data/cat.jpg"], FeatureWriter(grid="covered"))


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "infinite or not a number"), (float("inf"), "infinite or not a number"), (1e5, "dtype: float32")],
)
def test_features_that_are_no_numbers_are_not_written(tmp_path, value, message):
    class Broken(TinyModule):
        def predict_step(self, batch, batch_idx):
            features = self.pooled(batch["image"])
            features[0, 1, 2, 3] = value
            return features

    with pytest.raises(UserError, match=f"features of Broken for /data/cat.jpg are .*{message}"):
        predict(tmp_path, ["/data/cat.jpg"], FeatureWriter(), Broken())
    assert not list(tmp_path.rglob("*.safetensors"))
    if value == 1e5:
        predict(tmp_path, ["/data/cat.jpg"], FeatureWriter(dtype="float32"), Broken())


def test_a_module_without_dense_features_is_refused(tmp_path):
    class Classifier(TinyModule):
        def predict_step(self, batch, batch_idx):
            return batch["image"].mean((1, 2, 3))

    with pytest.raises(UserError, match="Classifier"):
        predict(tmp_path, ["/data/cat.jpg"], FeatureWriter(), Classifier())
    with pytest.raises(UserError, match="float16"):
        FeatureWriter(dtype="int8")


@pytest.mark.parametrize("shape", [(400, 300), (1, 1), (3, 500)])
def test_pictures_are_side_by_side(tmp_path, shape):
    write_picture(torch.rand(3, *shape), torch.randn(8, 5, 6), tmp_path / "x.png", side=600)
    with Image.open(tmp_path / "x.png") as picture:
        assert max((picture.width - 8) // 2, picture.height) == 600
        assert (picture.width - 8) % 2 == 0
