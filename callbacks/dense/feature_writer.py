"""Dense features of a user's own images, written to files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.results.figures import as_png
from callbacks.results.prediction_writer import PredictionWriter, name_of_files, root_of_data
from networks.cells import Cells, Grid, LocatesCells, cells_of
from networks.feature_maps import principal_colours
from visionscapes.checks import check_options
from visionscapes.errors import UserError
from visionscapes.files import write_bytes

DTYPES = {"float16": torch.float16, "float32": torch.float32}


class FeatureWriter(PredictionWriter):
    """Writes what ``predict_step`` returns, dense features (B, C, h, w), one file an image.

    For <root>/trip/cat.jpg the features go to features/trip/cat.jpg.safetensors in the run folder, under the key
    "features" (C, h, w) with the metadata method, path, image_height and image_width, and the image beside its first
    three principal components to pictures/trip/cat.jpg.png. The suffix stays in the name, so that no two images share
    a file. Each file appears as soon as its image is done; no features are kept in memory. Where the module says where
    its cells lie, metadata have cell_start and cell_size too: cell i along either side covers the pixels from
    cell_start + i cell_size on, whatever ``grid`` is.

    Args:
        dtype: of the features in the file, "float16" or "float32".
        pictures: whether to write pictures.
        grid: "official" stretches features over the whole picture; "covered" draws them over the pixels that they stand
            for and leaves the others white, see ``networks.cells``.

    Raises:
        UserError: an unknown dtype, a module whose ``predict_step`` does not return dense features, or does not say
            where they lie while ``grid`` is "covered"; features that are not finite, or not in ``dtype``.
    """

    needed = "dense features"
    remedy = "use it with a module that offers dense features, such as LiFT"

    def __init__(
        self,
        dtype: Literal["float16", "float32"] = "float16",
        pictures: bool = True,
        grid: Grid = "official",
    ):
        check_options(FeatureWriter, locals())
        super().__init__()
        self.dtype, self.pictures, self.grid = dtype, pictures, grid

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Tensor) and outputs.ndim == 4

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Tensor
    ) -> dict[str, tuple[int, ...]]:
        folder, root = Path(trainer.default_root_dir), root_of_data(trainer)
        cells = cells_of(pl_module) if self.grid == "covered" or isinstance(pl_module, LocatesCells) else None
        stored = self._stored(outputs, batch["path"], type(pl_module).__name__)
        shapes = {}
        for image, path, features, kept in zip(batch["image"], batch["path"], outputs, stored, strict=True):
            name = name_of_files(path, root)
            height, width = image.shape[-2:]
            metadata = {"method": type(pl_module).__name__, "path": path}
            metadata |= {"image_height": str(height), "image_width": str(width)}
            if cells is not None:
                metadata |= {"cell_start": f"{cells.start:.9g}", "cell_size": f"{cells.size:.9g}"}
            write_features(kept, metadata, folder / "features" / f"{name}.safetensors")
            if self.pictures:
                place = cells if self.grid == "covered" else None
                write_picture(image.cpu(), features, folder / "pictures" / f"{name}.png", cells=place)
            shapes[str(name)] = tuple(features.shape)
        return shapes

    def _stored(self, features: Tensor, paths: Sequence[str], method: str) -> Tensor:
        """Return features (B, C, h, w) as they are written."""
        stored = features.to(DTYPES[self.dtype])
        finite = stored.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            path = paths[int((~finite).int().argmax())]
            if bool(features.isfinite().all()):
                raise UserError(f"features of {method} for {path} are beyond what float16 holds: write dtype: float32")
            raise UserError(
                f"features of {method} for {path} are infinite or not a number: look at the weights and at the image"
            )
        return stored

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, tuple[int, ...]]) -> str:
        where = Path(trainer.default_root_dir)
        last = f", the last {list(records.values())[-1]}" if records else ""
        pictures = f"; pictures in {where / 'pictures'}" if self.pictures else ""
        return f"{len(records)} feature files ({self.dtype}{last}) in {where / 'features'}{pictures}"


def write_features(features: Tensor, metadata: dict[str, str], path: Path) -> None:
    """Write features (C, h, w) as safetensors; the file appears whole or not at all."""
    from safetensors.torch import save

    # safetensors stores text as UTF-8, and a file name may hold other bytes.
    readable = {key: value.encode(errors="replace").decode() for key, value in metadata.items()}
    # Not save_file, whose files only their owner may read.
    write_bytes(path, save({"features": features.detach().cpu().contiguous()}, readable))


def write_picture(image: Tensor, features: Tensor, path: Path, side: int = 320, *, cells: Cells | None = None) -> None:
    """Write an image beside the principal components of its features as PNG.

    Args:
        image: (3, H, W) in [0, 1].
        features: (C, h, w).
        path: of the file.
        side: longer side of each half in pixels.
        cells: where the cells lie in the image; they tile it evenly if None.
    """
    photo, colours = as_picture(image.clamp(0, 1).permute(1, 2, 0)), as_picture(principal_colours([[features]])[0][0])
    scale = side / max(photo.size)
    width, height = (max(1, round(length * scale)) for length in photo.size)
    both = Image.new("RGB", (2 * width + 8, height), "white")
    both.paste(photo.resize((width, height), Image.Resampling.LANCZOS), (0, 0))
    # Cells stay visible as squares: their number is what an upsampler changes.
    left, top, right, bottom = 0, 0, width, height
    if cells is not None:
        left = top = round(cells.start * scale)
        right, bottom = (max(left + 1, round(cells.edge(count) * scale)) for count in colours.size)
    placed = colours.resize((right - left, bottom - top), Image.Resampling.NEAREST)
    both.paste(placed, (width + 8 + left, top))
    write_bytes(path, as_png(both))


def as_picture(pixels: Tensor) -> Image.Image:
    """Return (H, W, 3) in [0, 1] as an RGB image."""
    return Image.fromarray(np.uint8((pixels.float() * 255).round().cpu().numpy()))
