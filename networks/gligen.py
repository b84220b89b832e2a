"""GLIGEN's inpainting of grounded objects, by diffusers, with what it leaves to its caller done (thesis 7.2.2, 7.5.1).

The pipeline cuts pictures to squares and leaves their boxes as they were, draws from the global random numbers beside
its generator, takes 30 boxes at most, and none that is smaller than a cell of its latents. Here pictures of any shape
come back in that shape, with word of which of their objects were drawn anew, and a seed decides it all.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout, picture_prompt
from visionscapes.checks import NonNegativeFloat, PositiveInt, PositiveShare, check_options
from visionscapes.errors import UserError

MOST_BOXES = 30  # that GLIGEN was trained with
PUBLISHED = "masterful/gligen-1-4-inpainting-text-box"
INSTALL = "GLIGEN needs transformers: pip install 'visionscapes[gligen]'"


class GLIGENInpainter(GroundedInpainter):
    """Draws objects into the boxes of a photograph with GLIGEN, a latent diffusion model that is told boxes and names.

    Of more than 30 boxes the largest are drawn; boxes that cover no cell of the latents, of 8 pixels in the square that
    the network works in, are not. The others stay as they are in the picture, and so do their annotations.

    Args:
        model: folder that ``save_pretrained`` of such a pipeline has left, or a name on Hugging Face's hub.
        steps: of the sampler; the thesis gives none, 50 is diffusers' number.
        guidance: of the prompt, without a classifier; 7.5 is diffusers' number.
        grounded: share of the steps, from the first, in which boxes are told; 0.3 is diffusers' number, 1 GLIGEN's own
            default.
        paste: whether the pixels outside of all boxes are the photograph's own; else they come out of the autoencoder.
        dtype: of the weights; half precision on a GPU halves time and memory.

    Raises:
        UserError: transformers is not installed, or there is no such model, or one of another kind.
    """

    title = "GLIGEN"

    def __init__(
        self,
        model: str = PUBLISHED,
        steps: PositiveInt = 50,
        guidance: NonNegativeFloat = 7.5,
        grounded: PositiveShare = 0.3,
        paste: bool = True,
        dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    ):
        check_options(GLIGENInpainter, locals())
        super().__init__()
        self.model, self.dtype = model, dtype
        self.steps, self.guidance, self.grounded, self.paste = steps, guidance, grounded, paste
        self.pipeline = read_pipeline(model, getattr(torch, dtype))
        # Parts of this module too, so that they move with it; the pipeline looks where they are.
        self.unet, self.vae, self.text_encoder = self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder
        self.requires_grad_(False).eval()

    @property
    def side(self) -> int:
        """Pixels of a side of the square that the network works in."""
        return int(self.vae.config.sample_size)

    @override
    def inpaint(self, layout: PictureLayout, seed: int) -> Inpainted:
        boxes = layout.boxes.float()
        chosen = self.drawable(boxes, layout.image.shape[-2:])
        phrases = spoken(layout.names)
        prompt = picture_prompt(phrases)
        if not chosen.any():
            return Inpainted(layout.image, chosen, prompt)
        square, scale = letterboxed(layout.image, self.side)
        names = [name for name, kept in zip(phrases, chosen.tolist(), strict=True) if kept]
        made = self._sampled(
            square, boxes[chosen] * scale / self.side, names, prompt, seed=seed, grounded=self.grounded
        )
        image = restored(made, layout.image.shape[-2:], scale)
        if self.paste:
            image = torch.where(inside(boxes[chosen], layout.image.shape[-2:]), image, layout.image)
        return Inpainted(image, chosen, prompt)

    @override
    def ignores_boxes(self, layout: PictureLayout, seed: int) -> bool:
        """Return whether a picture comes out the same when boxes are never told, as where their layers were lost."""
        square, scale = letterboxed(layout.image, self.side)
        chosen = self.drawable(layout.boxes.float(), layout.image.shape[-2:])
        phrases = spoken(layout.names)
        names = [name for name, kept in zip(phrases, chosen.tolist(), strict=True) if kept]
        given = square, layout.boxes.float()[chosen] * scale / self.side, names, picture_prompt(phrases)
        told, untold = (self._sampled(*given, seed=seed, grounded=share) for share in (self.grounded, 0.0))
        return torch.equal(told, untold)

    def drawable(self, boxes: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """Return (N,) bool: the boxes that are drawn anew, of a picture of height and width ``size``."""
        cells = self.side // self.pipeline.vae_scale_factor
        corners = (boxes * (cells / max(size))).clamp(0, cells).long()
        covers = (corners[:, 2:] > corners[:, :2]).all(1)  # as the pipeline masks its latents
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).where(covers, torch.tensor(-1.0))
        chosen = torch.zeros(len(boxes), dtype=torch.bool)
        chosen[areas.argsort(descending=True, stable=True)[:MOST_BOXES]] = True
        return chosen & covers

    def _sampled(
        self, square: Tensor, boxes: Tensor, names: list[str], prompt: str, *, seed: int, grounded: float
    ) -> Tensor:
        """Return (3, S, S) uint8; boxes (N, 4) in [0, 1]."""
        from torchvision.transforms.functional import to_pil_image

        device = self.unet.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(seed)
            # At least one step is told the boxes, however few there are.
            share = max(grounded, 1.01 / self.steps) if grounded else 0.0
            made = self.pipeline(
                prompt,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                gligen_scheduled_sampling_beta=share,
                gligen_phrases=names,
                gligen_boxes=boxes.tolist(),
                gligen_inpaint_image=to_pil_image(square),
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="pt",
            ).images[0]
        return (made.float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)


def spoken(names: Sequence[str]) -> list[str]:
    """Return names of classes as a text encoder has read them: LVIS writes "wine_bucket"."""
    return [name.replace("_", " ") for name in names]


def letterboxed(image: Tensor, side: int) -> tuple[Tensor, float]:
    """Return a picture (3, H, W) uint8 in the upper left of a square (3, side, side), and its factor of size.

    What is right of it or below continues its border.
    """
    height, width = image.shape[-2:]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = _resized(image, size)
    padded = F.pad(small[None].float(), (0, side - size[1], 0, side - size[0]), mode="replicate")[0]
    return padded.to(torch.uint8), scale


def restored(square: Tensor, size: torch.Size | tuple[int, int], scale: float) -> Tensor:
    """Return the picture (3, H, W) uint8 of height and width ``size`` out of what `letterboxed` has made of it."""
    height, width = size
    part = square[:, : max(1, round(height * scale)), : max(1, round(width * scale))]
    return _resized(part, (height, width))


def inside(boxes: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Return (H, W) bool: the pixels that boxes (N, 4) xyxy cover in part or whole."""
    found = torch.zeros(*size, dtype=torch.bool)
    for x1, y1, x2, y2 in torch.cat([boxes[:, :2].floor(), boxes[:, 2:].ceil()], 1).clamp(min=0).int().tolist():
        found[y1:y2, x1:x2] = True
    return found


def read_pipeline(model: str, dtype: torch.dtype) -> Any:
    """Return diffusers' pipeline of a folder or of Hugging Face's hub, without a checker that blackens pictures.

    Raises:
        UserError: transformers is not installed; there is no such model, or it is no GLIGEN that inpaints.
    """
    try:
        import transformers  # noqa: F401 (the pipeline's text encoder; diffusers says less clearly that it is missing)
    except ImportError as error:
        raise UserError(INSTALL) from error
    from diffusers import StableDiffusionGLIGENPipeline
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    folder = Path(model).expanduser()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline = StableDiffusionGLIGENPipeline.from_pretrained(
                str(folder) if folder.is_dir() else model,
                torch_dtype=dtype,
                safety_checker=None,
                requires_safety_checker=False,
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"cannot read GLIGEN from '{model}' ({str(error).splitlines()[0]}): give the folder of a pipeline of "
            f"diffusers, or fetch {PUBLISHED} where there is a network and give its folder"
        ) from error
    finally:
        logging.set_verbosity(before)
    if (
        pipeline.unet.config.attention_type not in ("gated", "gated-text-image")
        or pipeline.unet.config.in_channels != 9
    ):
        raise UserError(
            f"'{model}' is a diffusion model that takes no boxes, or does not inpaint: give one for inpainting, such "
            f"as {PUBLISHED}"
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    given = image[None].float()
    made = F.interpolate(given, size, mode="bicubic", antialias=True, align_corners=False)[0]
    return made.clamp(0, 255).round().to(torch.uint8)
