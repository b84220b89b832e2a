import csv
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from callbacks.dense.scale_invariance import ScaleInvariance, resize, seen_at_every_scale
from metrics.cka import MinibatchCKA
from networks.cells import Cells
from tests.helpers.dense_case import Objects, Pooled, TinyModule, object_discovery_loaders, run_test
from visionscapes.errors import UserError


class PlacedPool(Pooled):
    def cells(self):
        return Cells(0, self.patch)


class PlacedModule(TinyModule):
    def dense_features(self):
        return {"placed": PlacedPool()}


def test_figures_picture_and_pooling_of_batches(tmp_path):
    callback = ScaleInvariance(scales=[32, 8, 16], batch_size=4, methods=["base", "bilinear"])
    run_test(tmp_path, [callback], object_discovery_loaders(9, (16, 32), batch_size=2))
    values = {(row.method, row.metric): row for row in callback.results}
    assert set(values) == {(m, f"CKA {a}->{b}") for m in ("base", "bilinear") for a, b in [(8, 16), (8, 32), (16, 32)]}

    images = torch.stack([Objects(9, 32)[index]["image"] for index in range(8)])  # the ninth is no batch of four
    metric = MinibatchCKA(["8", "16", "32"])
    for batch in images.split(4):
        metric.update([Pooled()(resize(batch, side)) for side in (8, 16, 32)])
    for name, estimate in metric.compute().items():
        row = values["base", name]
        assert row.value == pytest.approx(float(estimate.value))
        assert row.standard_error == pytest.approx(float(estimate.standard_error))
        assert (row.count, row.image_size, row.protocol) == (8, 32, "scale_invariance")

    assert len(list(csv.DictReader((tmp_path / "results" / "scale_invariance.csv").open()))) == 6
    with Image.open(tmp_path / "pictures" / "scale_invariance.png") as picture:
        assert picture.width > 2 * picture.height


def test_limit_and_last_incomplete_batch(tmp_path):
    callback = ScaleInvariance(scales=[16, 32], batch_size=16, limit=5, methods=["base"])
    run_test(tmp_path, [callback], object_discovery_loaders(9, batch_size=3))
    assert [row.count for row in callback.results] == [5]


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("limit", [4, 5, 6, None])
def test_the_limit_counts_the_images_of_all_processes(processes, limit):
    """Samples are dealt in turn, so the first ``limit`` of the data set are taken whatever the number of processes."""
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16)
    taken: list[int] = []
    for rank in range(processes):
        callback, dealt = ScaleInvariance(scales=[8, 16], batch_size=16, limit=limit), images[rank::processes]
        trainer = SimpleNamespace(world_size=processes, global_rank=rank)
        for batch_idx, part in enumerate(dealt.split(2)):
            callback.on_validation_batch_end(trainer, None, None, {"task": "discovery", "image": part}, batch_idx)
        taken += [int(image[0, 0, 0]) for image in callback._held]
    assert sorted(taken) == list(range(limit or 8))


@pytest.mark.parametrize(("count", "size"), [(3, 32), (8, 24)])
def test_says_when_no_image_fits(tmp_path, count, size):
    callback = ScaleInvariance(scales=[16, 32], methods=["base"])
    with pytest.warns(UserWarning, match="images of 32 px"):
        run_test(tmp_path, [callback], object_discovery_loaders(count, (size,)))
    assert callback.results == []


@pytest.mark.parametrize("options", [{"scales": [32]}, {"scales": [32, 32, 64]}, {"batch_size": 3}])
def test_unusable_options(options):
    with pytest.raises(UserError, match=r"ScaleInvariance\.(scales|batch_size) is .*(different values|at least 4)"):
        ScaleInvariance(**options)


def test_covered_cells_are_those_that_every_scale_sees():
    """Patches of 16: three cells cover 48 of 56 pixels, and of seven and fourteen cells six and twelve lie there."""
    maps = [torch.arange(float(count)).expand(1, 1, count, count) for count in (3, 7, 14)]
    kept = seen_at_every_scale(maps, [56, 112, 224], Cells(0, 16))
    assert [each.shape[-2:] for each in kept] == [(3, 3), (6, 6), (12, 12)]
    for each, whole in zip(kept, maps, strict=True):
        assert torch.equal(each, whole[..., : each.shape[-2], : each.shape[-1]])
    # Half the stride: 4 to 52 of 56 pixels, and 4 to 108 of 112, of which the centres from 8 to 104 remain.
    maps = [torch.arange(float(count)).expand(1, 1, count, count) for count in (6, 13)]
    kept = seen_at_every_scale(maps, [56, 112], Cells(4, 8))
    assert [each[0, 0, 0].tolist() for each in kept] == [[0, 1, 2, 3, 4, 5], list(range(1, 12))]


def test_both_grids_are_one_where_patches_tile_every_scale(tmp_path):
    values = []
    for grid in ("official", "covered"):
        callback = ScaleInvariance(scales=[8, 16, 32], batch_size=4, methods=["placed"], grid=grid)
        run_test(tmp_path / grid, [callback], object_discovery_loaders(8), PlacedModule())
        values.append([(row.metric, row.value) for row in callback.results])
    assert values[0] == values[1]


def test_the_covered_grid_leaves_out_what_a_scale_does_not_see(tmp_path):
    callback = ScaleInvariance(scales=[22, 32], batch_size=4, methods=["placed"], grid="covered")
    run_test(tmp_path, [callback], object_discovery_loaders(8), PlacedModule())
    images, metric = torch.stack([Objects(8, 32)[index]["image"] for index in range(8)]), MinibatchCKA(["22", "32"])
    for batch in images.split(4):
        metric.update([Pooled()(resize(batch, 22)), Pooled()(batch)[..., :7, :7]])
    assert [row.value for row in callback.results] == pytest.approx([float(metric.compute()["CKA 22->32"].value)])


def test_shrinking_is_antialiased():
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 3, 64, 64)
    # Twelve pixels meet the stripes at places of their own each; aliasing would leave coarse stripes, deviation 0.27.
    assert resize(stripes, 12)[..., 3:-3].std() < 0.01
    assert resize(stripes, 12).mean() == pytest.approx(0.5, abs=0.01)
    torch.testing.assert_close(resize(stripes, 64), stripes)
    torch.testing.assert_close(resize(stripes, 128), F.interpolate(stripes, (128, 128), mode="bilinear"))
