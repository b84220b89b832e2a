from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.dense.video_propagation import VideoPropagation
from callbacks.results.result import Result
from metrics.video_segmentation import VideoSegmentationQuality
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


class Colours(nn.Module):
    """Dense features that tell every colour from every other: random waves over the mean colour of each cell."""

    def __init__(self, cell: int = 1):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.cell, self.waves = cell, 20 * torch.randn(128, 4, generator=generator)

    def forward(self, images: Tensor) -> Tensor:
        cells = nn.functional.avg_pool2d(images, self.cell)
        waves = torch.einsum("kc,bchw->bkhw", self.waves[:, :3], cells)
        return (waves + self.waves[:, 3, None, None]).cos()


class Blind(nn.Module):
    """Dense features that are the same everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.ones_like(images)


class Features(LightningModule):
    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None: ...

    def dense_features(self) -> dict[str, nn.Module]:
        return {"fine": Colours(), "coarse": Colours(2), "blind": Blind()}


def video(seed: int, size: int = 24, frames: int = 5) -> dict[str, Any]:
    """Return two textured squares that move by two pixels a frame on a plain background, masks twice as large."""
    generator = torch.Generator().manual_seed(seed)
    canvas = torch.rand(3, 1, 1, generator=generator).expand(3, size, size)
    textures = torch.rand(2, 3, 8, 8, generator=generator)
    images, masks = canvas.repeat(frames, 1, 1, 1), torch.zeros(frames, size, size, dtype=torch.long)
    for frame in range(frames):
        for number, (top, left) in enumerate([(2, 2 + 2 * frame), (size - 10, size - 10 - 2 * frame)]):
            images[frame, :, top : top + 8, left : left + 8] = textures[number]
            masks[frame, top : top + 8, left : left + 8] = number + 1
    masks = masks.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return {"task": "video", "frames": images, "masks": masks, "name": f"squares-{seed}"}


def only(batch: list[dict[str, Any]]) -> dict[str, Any]:
    return batch[0]


class Videos(LightningDataModule):
    """Videos of the given seeds for each image size."""

    def __init__(self, seeds: dict[int, list[int]]):
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.seeds = seeds

    def test_dataloader(self) -> dict[str, DataLoader]:
        return {
            f"video@{size}": DataLoader([video(seed, size) for seed in seeds], collate_fn=only)
            for size, seeds in self.seeds.items()
        }


def evaluate(root: Path, callback: VideoPropagation, seeds: dict[int, list[int]], **options: Any) -> list[Result]:
    """Run the callback on the videos of these seeds for each image size."""
    trainer = quiet_trainer(root, [callback], use_distributed_sampler=False, **options)
    trainer.test(Features(), datamodule=Videos(seeds), verbose=False)
    return callback.results


def test_distinct_textures_are_followed(tmp_path: Path) -> None:
    results = evaluate(tmp_path, VideoPropagation(frames_at_once=2), {24: [0, 1], 32: [2]})
    values = {(row.metric, row.method, row.image_size): row.value for row in results}
    for size in (24, 32):
        assert values["J&F", "fine", size] > 0.98  # but for cells whose colour is the background's by chance
        assert values["J&F", "coarse", size] > 0.95
        assert values["J&F", "blind", size] < 0.5
    assert {row.count for row in results} == {4, 2}
    assert (tmp_path / "results" / "video.csv").is_file()


@pytest.mark.parametrize("padded", [(0, 0, 0, 8), (0, 8, 0, 0)])
def test_frames_need_not_be_square(padded: tuple[int, int, int, int]) -> None:
    """More background, below or to the right of everything that moves, changes nothing."""
    batch = video(0)
    square = VideoPropagation().segment(Colours(), batch["frames"], batch["masks"][0])[""]
    frames = nn.functional.pad(batch["frames"], padded, mode="replicate")
    wider = nn.functional.pad(batch["masks"][0], [2 * side for side in padded])
    found = VideoPropagation().segment(Colours(), frames, wider)[""]
    height, width = batch["masks"].shape[1:]
    assert found.shape[1:] == wider.shape
    assert (found[:, :height, :width] == square).float().mean() > 0.99
    assert not found[:, height:].any()
    assert not found[:, :, width:].any()


def test_chunks_of_frames_do_not_matter() -> None:
    batch = video(0)
    parts = [
        VideoPropagation(frames_at_once=count).segment(Colours(2), batch["frames"], batch["masks"][0])[""]
        for count in (1, 3, 8)
    ]
    assert torch.equal(parts[0], parts[1])
    assert torch.equal(parts[0], parts[2])
    assert torch.equal(parts[0][0].long(), batch["masks"][0])


class Layers(nn.Module):
    """The dense features of ``Features`` as layers from one pass, which it counts."""

    def __init__(self):
        super().__init__()
        self.layers, self.frames = nn.ModuleDict({"1": Colours(), "2": Colours(2), "3": Blind()}), 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.frames += len(images)
        return {name: layer(images) for name, layer in self.layers.items()}


def test_layers_go_through_a_video_together_and_alone_alike() -> None:
    batch, layers, callback = video(1), Layers(), VideoPropagation(frames_at_once=2)
    together = callback.segment(layers, batch["frames"], batch["masks"][0])
    assert layers.frames == len(batch["frames"])
    for name, layer in layers.layers.items():
        alone = callback.segment(layer, batch["frames"], batch["masks"][0])[""]
        assert torch.equal(together[name], alone)


def test_void_in_the_first_mask_is_no_object() -> None:
    batch = video(0)
    batch["masks"][:, :2] = 255
    found = VideoPropagation().segment(Colours(), batch["frames"], batch["masks"][0])[""]
    assert found.unique().tolist() == [0, 1, 2]


def test_neighbourhood_in_patches_spans_the_same_pixels_on_every_grid() -> None:
    """A square that jumps by 8 pixels is within 2 patches of 4 pixels, but beyond 2 cells of 1 or 2 pixels."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(3, 24, 24, generator=generator).repeat(3, 1, 1, 1)
    masks = torch.zeros(3, 24, 24, dtype=torch.long)
    texture = torch.rand(3, 6, 6, generator=generator)
    for frame, left in enumerate((2, 10, 10)):
        frames[frame, :, 8:14, left : left + 6] = texture
        masks[frame, 8:14, left : left + 6] = 1
    for stride in (1, 2):
        score = {}
        for unit in ("cells", "patches"):
            metric = VideoSegmentationQuality()
            callback = VideoPropagation(neighbourhood=2, neighbourhood_unit=unit, patch_size=4)
            metric.update(callback.segment(Colours(stride), frames, masks[0])[""].long(), masks)
            score[unit] = float(metric.compute()["J"].value)
        assert score["patches"] > 0.5 > score["cells"]


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="one of cells, patches"):
        VideoPropagation(neighbourhood_unit="pixels")
    with pytest.raises(UserError, match="patch_size"):
        VideoPropagation(neighbourhood_unit="patches")
    with pytest.raises(UserError, match="squares-0 has 2 frames"):
        VideoPropagation().update(VideoPropagation().new_metric(), Colours(), video(0, frames=2))


def one_rank(rank: int, root: str) -> None:
    # Unequal shares: rank 0 has no video of 32 pixels, rank 1 has two.
    seeds = {24: [0], 32: []} if rank == 0 else {24: [1, 2], 32: [3, 4]}
    results = evaluate(Path(root), VideoPropagation(), seeds, strategy="ddp", devices=2)
    torch.save([(row.metric, row.method, row.image_size, row.value, row.count) for row in results], f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    expected = evaluate(tmp_path, VideoPropagation(), {24: [0, 1, 2], 32: [3, 4]})
    two_processes(one_rank, str(tmp_path))
    for rank in range(2):
        rows = {row[:3]: row[3:] for row in torch.load(tmp_path / f"{rank}.pt")}
        assert len(rows) == len(expected)
        for row in expected:
            value, count = rows[row.metric, row.method, row.image_size]
            assert count == row.count
            assert value == pytest.approx(row.value, abs=1e-12)
