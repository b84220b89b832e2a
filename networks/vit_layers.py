"""A ViT seen layer by layer: what every block computes, from one pass over the images (thesis 2.2.4)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.dense import check_finite
from networks.tiling import tiled, to_patch_multiple
from networks.vit_features import create_vit, is_pre_norm
from visionscapes.errors import UserError

_TILES_AT_ONCE = 16  # bounds the memory of dense extraction: images that go through the network together


@dataclass(frozen=True)
class BlockView:
    """What one block has computed for a batch; B images, P prefix tokens (class, then registers), N patches.

    Attributes:
        layer: position of the block from 0.
        tokens: (B, P + N, C), output of the block: the residual stream before the final norm.
        attention: (B, H, P + N, P + N) after the softmax; None where it was not asked for.
        parts: (B, P + N, C) each: "norm1" and "norm2", outputs of the two layer norms; "attention_skip" and
            "attention_branch", what the first addition adds up; "mlp_skip" and "mlp_branch", the same of the second.
            Empty for what is no transformer.
        prefix: P.
        grid: height and width of the patch grid, N = h w.
    """

    layer: int
    tokens: Tensor
    attention: Tensor | None
    parts: dict[str, Tensor]
    prefix: int
    grid: tuple[int, int]

    @property
    def cls(self) -> Tensor:
        """(B, C), the class token."""
        return self.tokens[:, 0]

    @property
    def patches(self) -> Tensor:
        """(B, N, C), the spatial tokens, row by row; neither class nor registers are among them."""
        return self.tokens[:, self.prefix :]


Observer = Callable[[BlockView], None]


class Layered(nn.Module, ABC):
    """Base of what the analysis of chapter 2 can look at: features of several layers from one pass.

    Args:
        depth: number of layers L.
        heads: attention heads a layer.
        dim: channels C.
        patch_size: pixels.
        image_size: side of the square image that one pass sees, pixels.
        data_size: side at which square pictures arrive; all pictures are resized by image_size / data_size. None
            where they arrive at ``image_size``.
    """

    probe_layer: int | None = None  # whose features linear probes take, from 1; the last if None
    origin: str = "a ViT"  # what errors call it

    def __init__(self, depth: int, heads: int, dim: int, patch_size: int, image_size: int, data_size: int | None):
        super().__init__()
        self.depth, self.heads, self.dim = depth, heads, dim
        self.patch_size, self.image_size, self.data_size = patch_size, image_size, data_size or image_size

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the patch grid of one pass."""
        return self.image_size // self.patch_size, self.image_size // self.patch_size

    def visit(self, images: Tensor, observers: Sequence[Observer], attention: bool = False) -> None:
        """Call every observer once a block, in order, with what the block computed in one pass.

        Nothing is kept afterwards: whatever is of size N x N has to be reduced by the observer at once.

        Args:
            images: (B, 3, S, S), RGB in [0, 1], S the ``data_size``.
            observers: see ``BlockView``.
            attention: whether observers need the attention maps, which turns fused kernels off.

        Raises:
            UserError: images of another size, or features that are infinite or not a number.
        """
        self.check(images)
        self._pass(self._at_own_size(images), [self._refuse_what_is_not_finite, *observers], attention)

    @override
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the patch tokens of every layer, (B, C, h, w) by "1" to "L".

        Pictures larger than ``data_size`` are tiled (thesis 2.7.3): both sides are brought to the nearest lower
        multiple of the patch, then windows of ``image_size`` pass through the network, see ``networks.tiling.tiled``.

        Args:
            images: (B, 3, H, W), RGB in [0, 1]; both sides at least ``data_size``.

        Raises:
            UserError: an image smaller than the tile.
        """
        images = to_patch_multiple(self._at_own_size(images), self.patch_size)
        return tiled(self._maps, images, self.image_size, self.patch_size, _TILES_AT_ONCE)

    def cells(self) -> None:
        """Return that cells tile every image evenly, as the image is resized to multiples of the patch."""

    def _maps(self, images: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = {}

        def keep(view: BlockView) -> None:
            maps[str(view.layer + 1)] = view.patches.transpose(1, 2).unflatten(2, view.grid).contiguous()

        self._pass(images, [keep], attention=False)
        return maps

    def _refuse_what_is_not_finite(self, view: BlockView) -> None:
        check_finite(view.tokens, f"layer {view.layer + 1} of {self.origin}")

    @abstractmethod
    def _pass(self, images: Tensor, observers: Sequence[Observer], attention: bool) -> None:
        """Do one pass over images (B, 3, image_size, image_size)."""

    def _at_own_size(self, images: Tensor) -> Tensor:
        if self.data_size == self.image_size:
            return images
        sides = [max(1, round(side * self.image_size / self.data_size)) for side in images.shape[-2:]]
        return F.interpolate(images, sides, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)

    def check(self, images: Tensor) -> None:
        """Check that images (B, 3, S, S) have the side that one pass expects.

        Raises:
            UserError: they have not.
        """
        if tuple(images.shape[-2:]) != (self.data_size, self.data_size):
            height, width = images.shape[-2:]
            raise UserError(
                f"this ViT is set up for pictures of {self.data_size}x{self.data_size} pixels, not {width}x{height}: "
                f"its image_size has to be the side of the data, image_size={height}"
            )


class LayeredViT(Layered):
    """A frozen timm ViT whose blocks are looked into while an image passes; images in [0, 1], normalised inside.

    It needs pre-norm blocks and a class token. Register tokens, where there are any, count neither as class nor as
    spatial tokens. Hooks are set for a pass and taken away after it, so that the model itself stays as it is.

    Args:
        model: name of a timm vision transformer with its tag; an untagged name means other weights in other versions.
        weights: "timm" for the weights of the tag (needs a network or a filled cache), a local file, None for random.
        model_args: further arguments of ``timm.create_model``.
        mean: of the channels, subtracted; the model's own if None.
        std: of the channels, divided by; the model's own if None.
        image_size: side of the square image that one pass sees; the model's own if None. Another one needs a model
            that can resize its position embeddings, which timm then does.
        data_size: see ``Layered``.

    Raises:
        UserError: timm has no such model or cannot fetch or build it, it is no plain ViT with a class token, or the
            weights do not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str,
        weights: str | None = "timm",
        model_args: dict[str, Any] | None = None,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        image_size: int | None = None,
        data_size: int | None = None,
    ):
        vit = create_vit(model, weights, model_args or {})
        check_layers(vit, model)
        patch_size = vit.patch_embed.patch_size[0]
        size = image_size or _native_size(vit)
        if size % patch_size:
            raise UserError(f"image_size {size} of '{model}' is no multiple of its patch of {patch_size} pixels")
        super().__init__(
            len(vit.blocks),
            vit.blocks[0].attn.num_heads,
            vit.embed_dim,
            patch_size=patch_size,
            image_size=size,
            data_size=data_size,
        )
        self.vit, self.prefix = vit, int(vit.num_prefix_tokens)
        self.origin = f"'{model}' with {'random weights' if weights is None else f'weights {weights}'}"
        config = vit.pretrained_cfg
        self.register_buffer("mean", torch.tensor(mean or config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or config["std"]).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @override
    def train(self, mode: bool = True) -> "LayeredViT":
        """Stay in evaluation mode: the ViT is frozen."""
        return super().train(False)

    @override
    def _pass(self, images: Tensor, observers: Sequence[Observer], attention: bool) -> None:
        with watched(self.vit, self.prefix, self.grid, observers, attention):
            self.vit.forward_features((images - self.mean) / self.std)


class RandomFeatures(Layered):
    """Gaussian noise of the shape of a ViT's features: the chance level of every figure (thesis 2.7.2).

    The noise is a function of the pictures, so that results do not depend on their order or on who asks first.

    Args:
        dim: channels C.
        patch_size: pixels.
        image_size: see ``Layered``.
        data_size: see ``Layered``.
        uniform: draw from [0, 1) instead, as the official code does. Such vectors are all similar to each other; the
            text of the thesis says Gaussian.
    """

    prefix = 1

    def __init__(self, dim: int, patch_size: int, image_size: int, data_size: int | None = None, uniform: bool = False):
        super().__init__(1, 1, dim, patch_size=patch_size, image_size=image_size, data_size=data_size)
        self.uniform = uniform

    @override
    def _pass(self, images: Tensor, observers: Sequence[Observer], attention: bool) -> None:
        h, w = self.grid
        tokens = images.new_empty(len(images), 1 + h * w, self.dim)
        for image, own in zip(images.cpu(), tokens, strict=True):
            generator = torch.Generator().manual_seed(int(image.double().sum() * 1e6) % 2**63)
            noise = torch.rand if self.uniform else torch.randn
            own.copy_(noise(own.shape, generator=generator))
        for observe in observers:
            observe(BlockView(0, tokens, None, parts={}, prefix=1, grid=(h, w)))


@runtime_checkable
class HasLayers(Protocol):
    """A module that offers one or several ViTs to be analysed next to each other."""

    def layered(self) -> dict[str, Layered]:
        """Return the ViTs by the name under which results report them."""
        ...


def check_layers(vit: Any, model: str) -> None:
    """Check that the blocks can be looked into.

    Raises:
        UserError: the model has no class token, or blocks that are not x + attention(norm(x)), then x + mlp(norm(x)).
    """
    if getattr(vit, "cls_token", None) is None:
        raise UserError(
            f"'{model}' has no class token, which half of the analysis is about: take a variant that has one, "
            "or evaluate its patch tokens as dense features (networks.ViTFeatures with facet: token)"
        )
    hooked = ("norm1", "attn", "drop_path1", "norm2", "drop_path2")
    for block in vit.blocks:
        if not is_pre_norm(block) or not all(hasattr(block, name) for name in hooked):
            raise UserError(
                f"'{model}' has blocks of the kind {type(block).__name__}, which cannot be analysed: it takes "
                f"pre-norm transformer blocks with the parts {', '.join(hooked)}, such as those of timm's "
                "VisionTransformer, Beit and Eva"
            )


@contextmanager
def watched(
    vit: Any, prefix: int, grid: tuple[int, int], observers: Sequence[Observer], attention: bool
) -> Iterator[None]:
    """Call ``observers`` while ``vit`` runs inside this context; afterwards the model is as it was.

    Args:
        vit: a timm vision transformer that ``check_layers`` accepts.
        prefix: number of prefix tokens.
        grid: of the patches.
        observers: called at the end of every block.
        attention: show them the attention maps.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str, value: Callable[[tuple[Any, ...], Any], Tensor]) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            seen[name] = value(inputs, output)

        return hook

    def finish(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            maps = seen.pop("attention", None)
            view = BlockView(layer, output, maps, parts=dict(seen), prefix=prefix, grid=grid)
            seen.clear()
            for observe in observers:
                observe(view)

        return hook

    with ExitStack() as stack:

        def hook(module: nn.Module, function: Callable[..., None]) -> None:
            stack.callback(module.register_forward_hook(function).remove)

        for layer, block in enumerate(vit.blocks):
            for norm, branch in (("norm1", "attention"), ("norm2", "mlp")):
                hook(getattr(block, norm), keep(norm, lambda _, output: output))
                hook(getattr(block, norm), keep(f"{branch}_skip", lambda inputs, _: inputs[0]))
            # Behind layer scale: what the addition receives.
            hook(block.drop_path1, keep("attention_branch", lambda _, output: output))
            hook(block.drop_path2, keep("mlp_branch", lambda _, output: output))
            if attention:
                # Fused kernels never form the map. The hook gets it after the softmax, before the (inactive) dropout.
                hook(block.attn.attn_drop, keep("attention", lambda inputs, _: inputs[0]))
                stack.callback(setattr, block.attn, "fused_attn", block.attn.fused_attn)
                block.attn.fused_attn = False
            hook(block, finish(layer))
        yield


def _native_size(vit: Any) -> int:
    size = getattr(vit.patch_embed, "img_size", None) or vit.pretrained_cfg["input_size"][-1]
    height, width = size if isinstance(size, list | tuple) else (size, size)
    if height != width:
        raise UserError(f"this ViT takes images of {width}x{height} pixels; the analysis needs square ones")
    return int(height)
