"""Dense features of a user's own images, written to files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.results.figures import LARGEST_PNG, as_png
from callbacks.results.prediction_writer import PredictionWriter, name_of_files, root_of_data
from networks.feature_maps import principal_colours
from visionscapes.checks import check_options
from visionscapes.files import write_bytes

DTYPES = {"float16": torch.float16, "float32": torch.float32}


class FeatureWriter(PredictionWriter):
    """Writes what ``predict_step`` returns, dense features (B, C, h, w), one file an image.

    For <root>/trip/cat.jpg the features go to features/trip/cat.jpg.safetensors in the run folder, under the key
    "features" (C, h, w) with the metadata method, path, image_height and image_width, and the image beside its first
    three principal components to pictures/trip/cat.jpg.png. The suffix stays in the name, so that no two images share
    a file. Each file appears as soon as its image is done; no features are kept in memory.

    Args:
        dtype: of the features in the file, "float16" or "float32".
        pictures: whether to write pictures.

    Raises:
        UserError: an unknown dtype, or a module whose ``predict_step`` does not return dense features.
    """

    needed = "dense features"
    remedy = "use it with a module that offers dense features, such as LiFT"

    def __init__(self, dtype: Literal["float16", "float32"] = "float16", pictures: bool = True):
        check_options(FeatureWriter, locals())
        super().__init__()
        self.dtype, self.pictures = dtype, pictures

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Tensor) and outputs.ndim == 4

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Tensor
    ) -> dict[str, tuple[int, ...]]:
        folder, root = Path(trainer.default_root_dir), root_of_data(trainer)
        shapes = {}
        for image, path, features in zip(batch["image"], batch["path"], outputs, strict=True):
            name = name_of_files(path, root)
            height, width = image.shape[-2:]
            metadata = {"method": type(pl_module).__name__, "path": path}
            metadata |= {"image_height": str(height), "image_width": str(width)}
            write_features(features.to(DTYPES[self.dtype]), metadata, folder / "features" / f"{name}.safetensors")
            if self.pictures:
                write_picture(image.cpu(), features, folder / "pictures" / f"{name}.png")
            shapes[str(name)] = tuple(features.shape)
        return shapes

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


def write_picture(image: Tensor, features: Tensor, path: Path, side: int = 320) -> None:
    """Write an image beside the principal components of its features as PNG of at most ``LARGEST_PNG`` bytes.

    Args:
        image: (3, H, W) in [0, 1].
        features: (C, h, w).
        path: of the file.
        side: longer side of each half in pixels; smaller where the file would be too large.
    """
    photo, colours = as_picture(image.clamp(0, 1).permute(1, 2, 0)), as_picture(principal_colours([[features]])[0][0])
    while True:
        scale = side / max(photo.size)
        width, height = (max(1, round(length * scale)) for length in photo.size)
        both = Image.new("RGB", (2 * width + 8, height), "white")
        both.paste(photo.resize((width, height), Image.Resampling.LANCZOS), (0, 0))
        # Cells stay visible as squares: their number is what an upsampler changes.
        both.paste(colours.resize((width, height), Image.Resampling.NEAREST), (width + 8, 0))
        content = as_png(both)
        if len(content) <= LARGEST_PNG or side < 64:
            break
        side = int(side * 0.85)
    write_bytes(path, content)


def as_picture(pixels: Tensor) -> Image.Image:
    """Return (H, W, 3) in [0, 1] as an RGB image."""
    return Image.fromarray(np.uint8((pixels.float() * 255).round().cpu().numpy()))
