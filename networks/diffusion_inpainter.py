"""Objects in the boxes of a layout, by a small diffusion model, drawn towards what a detector finds hard if asked."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from networks.box_diffusion import AskedBoxes, BoxDiffusion, emptied, painted_boxes
from networks.frozen import Frozen
from networks.guidance import Guide, pushed
from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout, picture_prompt
from visionscapes.checks import Bounds, PositiveShare, check_options
from visionscapes.errors import UserError

DIGITS = 16  # of a digest
ETA = 1.0  # of DDIM: as much fresh noise as in DDPM


class DiffusionInpainter(GroundedInpainter):
    """Draws objects with a small diffusion model, by DDIM; pixels outside of all boxes stay the picture's own.

    What it draws is what it was trained on, by ``configs/gen2det_inpainter.yaml`` crowded procedural scenes of 128
    pixels, objects of 18 to 51 pixels. It is a function of layout, seed and guide.

    Args:
        weights: backbone.safetensors of such a run.
        steps: of DDIM, from noise alone.
        draft: inpainter whose objects are noised and drawn over, such as ``datamodules.SceneInpainter``, in place of
            noise alone (Meng et al., "SDEdit", 2022): shapes are the draft's, colours and texture the network's own.
        strength: share of the training's steps by which a draft is noised; so large a share of ``steps`` is gone.

    Raises:
        UserError: the file is missing or holds another network; ``steps`` or ``strength`` out of its bounds.
    """

    title = "small diffusion model"

    def __init__(
        self,
        weights: str,
        steps: Annotated[int, Bounds(least=1, most=1000)] = 10,
        draft: GroundedInpainter | None = None,
        strength: PositiveShare = 0.5,
    ):
        check_options(DiffusionInpainter, locals())
        super().__init__()
        self.weights, self.steps, self.draft, self.strength = weights, steps, draft, strength
        self.network = BoxDiffusion.from_file(weights)
        self.guide: Guide | None = None

    @property
    @override
    def options(self) -> dict[str, Any]:
        digest = Frozen(self.network, (self.network,)).digest()[:DIGITS]  # the file can be written anew
        plain: dict[str, Any] = {"weights": self.weights, "digest": digest, "steps": self.steps}
        if self.draft is not None:
            plain |= {"draft": _told(self.draft), "strength": self.strength}
        return plain if self.guide is None else plain | {"guide": _told(self.guide)}

    @override
    def guided_by(self, guide: Guide) -> None:
        self.guide = guide

    @override
    def inpaint(self, layout: PictureLayout, seed: int) -> Inpainted:
        """Draw all objects anew, see `GroundedInpainter.inpaint`.

        Raises:
            UserError: a class that the network has not learned.
        """
        image, repainted = layout.image, torch.ones(len(layout.boxes), dtype=torch.bool)
        if layout.names:
            image = self._drawn(layout, self._planes(layout), seed, self.guide)
        return Inpainted(image, repainted, picture_prompt(layout.names))

    @override
    def ignores_boxes(self, layout: PictureLayout, seed: int) -> bool:
        """Return whether a picture comes out the same when the network is never told which classes, and where."""
        planes = self._planes(layout)
        untold = torch.cat([planes[:1], torch.zeros_like(planes[1:])])
        told, without = (self._drawn(layout, each, seed, None) for each in (planes, untold))
        return torch.equal(told, without)

    def _planes(self, layout: PictureLayout) -> Tensor:
        """Return what the network is told, see `painted_boxes`."""
        known = {name: number for number, name in enumerate(self.network.classes)}
        if unknown := [name for name in layout.names if name not in known]:
            raise UserError(
                f"the diffusion model has not learned to draw {unknown[0]!r}, but {', '.join(known)}: train one on "
                "such objects, or take another inpainter, such as networks.GLIGENInpainter"
            )
        height, width = layout.image.shape[1:]
        return painted_boxes(layout.boxes, [known[name] for name in layout.names], len(known), (height, width))

    def _drawn(self, layout: PictureLayout, planes: Tensor, seed: int, guide: Guide | None) -> Tensor:
        """Return the picture (3, H, W) uint8 with what was sampled where the planes say so."""
        height, width = layout.image.shape[1:]
        device = self.network.alphas.device
        padding = (0, -width % self.network.multiple, 0, -height % self.network.multiple)
        # Lightning predicts in inference mode, in which nothing has a gradient; copies of what was made there do.
        with torch.inference_mode(False), torch.no_grad():
            image = F.pad(layout.image.clone()[None].to(device).float() / 255, padding, mode="replicate")
            asked = emptied(image, F.pad(planes.clone()[None].to(device), padding))
            timesteps, generator = self._timesteps(), torch.Generator("cpu").manual_seed(seed)
            noise, *fresh = torch.randn(len(timesteps) + 1, *image.shape, generator=generator).to(device)
            if self.draft is not None:
                drafted = self.draft.inpaint(layout, seed).image[None].to(device).float() / 127.5 - 1
                first = torch.tensor(timesteps[:1], device=device)
                noise = self.network.noised(F.pad(drafted, padding, mode="replicate"), noise, first)
            sampled = self._sampled(noise, asked, layout, guide, SamplingSteps(self.steps, timesteps, fresh))
            made = ((sampled[0, :, :height, :width] + 1) * 127.5).round().to("cpu", torch.uint8)
        return torch.where(planes[0] > 0, made, layout.image)

    def _sampled(
        self, noise: Tensor, asked: AskedBoxes, layout: PictureLayout, guide: Guide | None, steps: "SamplingSteps"
    ) -> Tensor:
        """Return the picture (1, 3, H, W) in [-1, 1] that noise, perhaps with a draft in it, leads to."""
        unguided = estimates(self.network, noise, asked, steps)
        if guide is None or not guide.guidance.scale:
            return unguided[-1]
        return estimates(self.network, noise, asked, steps, Climb(guide, layout, asked, unguided=unguided))[-1]

    def _timesteps(self) -> list[int]:
        """Return the steps t that are sampled at, falling; with a draft the first is the one that it is noised at."""
        every = self.network.scheduler(self.steps).timesteps.tolist()
        kept = len(every) if self.draft is None else max(1, round(self.strength * len(every)))
        return every[-kept:]


class SamplingSteps(NamedTuple):
    """The steps of a sampling.

    Attributes:
        total: of a sampling from noise alone, which says how far apart they are.
        timesteps: t of those that are gone, falling.
        fresh: noise (B, 3, H, W) for each.
    """

    total: int
    timesteps: Sequence[int]
    fresh: Sequence[Tensor]


class Climb:
    """Draws noised pictures towards what a guide finds hard, at the steps that it asks for.

    Args:
        guide: that says how hard objects are.
        layout: of the picture.
        asked: of the network.
        unguided: (1, 3, H, W) in [-1, 1] for every step, what is estimated without a guide.
    """

    def __init__(self, guide: Guide, layout: PictureLayout, asked: AskedBoxes, *, unguided: Sequence[Tensor]):
        self.guide, self.layout, self.unguided = guide, layout, unguided
        self.mask = asked.mask[0, 0] > 0
        self.boxes = layout.boxes.clone().to(asked.kept.device)

    def gradient(self, noised: Tensor, estimate: Tensor, number: int) -> Tensor:
        """Return the direction (1, 3, H, W) of step ``number``, 0 outside the boxes.

        Args:
            noised: (1, 3, H, W), x_t, that the estimate was made of.
            estimate: (1, 3, H, W) in [-1, 1], with a gradient to it.
            number: of the step, from 0.
        """
        height, width = self.layout.image.shape[1:]
        image = (estimate[0] + 1) / 2
        losses = self.guide(image[:, :height, :width], self.boxes, self.layout.names)
        before = (self.unguided[number][0] + 1) / 2
        objective = self.guide.guidance.objective(losses, image[:, self.mask], before[:, self.mask])
        return torch.autograd.grad(objective, noised)[0] * self.mask

    def wants(self, number: int) -> bool:
        """Return whether step ``number`` is guided; the last is not."""
        return number % self.guide.guidance.every == 0 and number < len(self.unguided) - 1

    def step(self, noised: Tensor, gradient: Tensor) -> Tensor:
        """Return a noised picture a step up, outside the boxes as it is."""
        inside = pushed(noised * self.mask, gradient, self.guide.guidance.scale)
        return torch.where(self.mask, inside, noised)


def estimates(
    network: BoxDiffusion, noised: Tensor, asked: AskedBoxes, steps: SamplingSteps, climb: Climb | None = None
) -> list[Tensor]:
    """Return what is estimated of pictures (B, 3, H, W) in [-1, 1] at each step; the last estimate is what is made.

    Noise is drawn afresh at every step, as in DDPM: what a small network lets through of the old one would be taken for
    texture of the objects later on.

    Args:
        network: that estimates.
        noised: (B, 3, H, W), x_t at the first of the steps.
        asked: what is to be drawn.
        steps: to go.
        climb: draws one picture towards what is hard; B is 1 then.
    """
    scheduler = network.scheduler(steps.total)
    found: list[Tensor] = []
    for number, (step, fresh) in enumerate(zip(steps.timesteps, steps.fresh, strict=True)):
        guided = climb is not None and climb.wants(number)
        with torch.set_grad_enabled(guided):
            start = noised.detach().requires_grad_(guided)
            estimate = network(start, step, asked).clamp(-1, 1)
            gradient = climb.gradient(start, estimate, number) if guided and climb is not None else None
        found.append(estimate.detach())
        noised = scheduler.step(
            found[-1], step, noised, ETA, use_clipped_model_output=True, variance_noise=fresh, return_dict=False
        )[0]
        if gradient is not None and climb is not None:
            noised = climb.step(noised, gradient)
    return found


def _told(part: GroundedInpainter | Guide) -> dict[str, Any]:
    cls = type(part)
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "options": part.options}
