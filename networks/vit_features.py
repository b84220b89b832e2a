"""Dense features of any timm ViT at one layer and facet; computation stops at that layer."""

from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.any_size import prepare_vit, with_same_weights
from networks.cells import Cells
from networks.position_tables import RESIZE, of_any_size
from networks.weights import load_read, read_state_dict
from visionscapes.checks import AnyInt, ChannelDeviations, ChannelMeans, PositiveInt, check_options
from visionscapes.errors import UserError

Facet = Literal["key", "query", "value", "token"]
OF_DETECTOR = "detector.backbone.vit."  # names of the ViT in the checkpoint of a ViTDet
_SLICE = {"query": 0, "key": 1, "value": 2}
_HEADS = (
    "head",
    "fc_norm",
    "decoder",
    "mask_token",
    "projection_head",
    "predictor",
    "momentum_encoder",
    "lm_head",
    "rel_pos_bias.relative_position_index",
)


class ViTFeatures(nn.Module):
    """Dense features of a frozen ViT: images (B, 3, H, W) in [0, 1] to (B, C, h, w).

    h = (H - patch) // stride + 1, likewise w: pixels to the right and below the last whole patch are not seen. Class
    and register tokens are left out.

    Args:
        model: name of a timm vision transformer with its tag, such as "vit_small_patch16_224.dino". An untagged name
            means other weights in other timm versions.
        weights: "timm" for the weights that belong to the tag (needs a network or a filled cache), the path of a local
            file, or None for random weights. Of the checkpoint of a ViTDet its ViT is taken.
        layer: index of the block from 0, negative from the last. LiFT uses the last one (thesis 8.2.3).
        facet: projection of the block's attention for "key" (default of LiFT's official code, without the final norm),
            "query" and "value"; "token" is the output of the block. Channels of a facet are ordered with the head
            fastest, channel = d * heads + head, as in the official code, whose LiFT weights depend on it.
        stride: step between patches in pixels; the patch size if None. Smaller strides give denser grids (thesis 8.2.1,
            after Amir et al., "Deep ViT features as dense visual descriptors").
        position_embedding: how the table of position embeddings is resized to other grids. "official" is bicubic with
            DINO's offset of 0.1 cells; "timm" is antialiased bicubic. The two differ numerically. Ignored by models
            with rotary or relative positions.
        model_args: further arguments of ``timm.create_model``, such as depth or embed_dim of a model of one's own.
        mean: of the channels, subtracted; the model's own if None.
        std: of the channels, divided by; the model's own if None.

    Attributes:
        dim: number of channels C.
        patch_size: in pixels.
        stride: in pixels.
        options: all of the arguments, with which another one like this can be made.

    Raises:
        UserError: timm has no such model or cannot fetch or build it, it is no plain vision transformer, the weights do
            not fit, or layer, facet or stride do not exist for it; in ``forward``, an image that it cannot take.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str = "vit_small_patch16_224.dino",
        weights: str | None = "timm",
        layer: AnyInt = -1,
        facet: Facet = "key",
        stride: PositiveInt | None = None,
        position_embedding: Literal["official", "timm"] = "official",
        model_args: dict[str, Any] | None = None,
        mean: ChannelMeans | None = None,
        std: ChannelDeviations | None = None,
    ):
        check_options(ViTFeatures, locals())
        super().__init__()
        self.options: dict[str, Any] = {
            "model": model,
            "weights": weights,
            "layer": layer,
            "facet": facet,
            "stride": stride,
            "position_embedding": position_embedding,
            "model_args": model_args,
            "mean": mean,
            "std": std,
        }
        self.vit = create_vit(model, weights, model_args or {})
        depth = len(self.vit.blocks)
        if not -depth <= layer < depth:
            raise UserError(f"layer {layer} of '{model}' does not exist: it has {depth} blocks, 0 to {depth - 1}")
        self.layer, self.facet, self.position_embedding = layer % depth, facet, str(position_embedding)
        self.patch_size: int = self.vit.patch_embed.patch_size[0]
        self.stride = self.patch_size if stride is None else stride
        if not 1 <= self.stride <= self.patch_size:
            raise UserError(f"stride {stride} of '{model}' is not from 1 to its patch size, {self.patch_size} pixels")
        self._plain = _is_plain(self.vit)
        if not self._plain and self.stride != self.patch_size:
            raise UserError(f"'{model}' has rotary or relative positions: stride must be {self.patch_size}, its patch")
        if facet != "token" and not is_pre_norm(self.vit.blocks[self.layer]):
            raise UserError(f"'{model}' has no attention facets here; use facet: token")
        if facet != "token" and self.layer == 0 and not self._plain:
            raise UserError(f"'{model}' has rotary or relative positions: facets are offered from layer 1 on")
        self.dim: int = self.vit.embed_dim if facet == "token" else _projection(self.vit.blocks[self.layer], facet)[0]
        config = self.vit.pretrained_cfg
        self.register_buffer("mean", torch.tensor(mean or config["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or config["std"]).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @override
    def train(self, mode: bool = True) -> "ViTFeatures":
        """Stay in evaluation mode: the ViT is frozen."""
        return super().train(False)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1] with the channels' mean and standard deviation taken out."""
        return (images - self.mean) / self.std

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width of the only images that it takes; None if it takes images of any size."""
        vit = self.vit
        fixed = None if self._plain or getattr(vit, "dynamic_img_size", False) else vit.patch_embed.img_size
        return None if fixed is None else (fixed[0], fixed[1])

    def traceable(self) -> "ViTFeatures":
        """Return the same features, with the same weights, of a network that decides nothing by comparing sizes.

        Whoever follows it once, to export it, has it for images of all sizes. Features are equal up to rounding.
        """
        network = with_same_weights(self)
        network.position_embedding = of_any_size(self.position_embedding)
        prepare_vit(network.vit)
        return network

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the grid (h, w) for an image of this size in pixels.

        Raises:
            UserError: the image is smaller than a patch, or the ViT takes another size only.
        """
        if min(height, width) < self.patch_size:
            raise UserError(
                f"an image of {width}x{height} pixels is smaller than a patch of {self.patch_size}: enlarge it"
            )
        h, w = (height - self.patch_size) // self.stride + 1, (width - self.patch_size) // self.stride + 1
        fixed = self.fixed_size
        if fixed is not None and fixed != (h * self.patch_size, w * self.patch_size):
            raise UserError(
                f"this ViT takes images of {fixed[1]}x{fixed[0]} pixels only, not {width}x{height}; "
                "resize them, or build it for another size with model_args: {img_size: ...}"
            )
        return h, w

    def cells(self) -> Cells:
        """Return where the cells lie: ``stride`` pixels around the centre of each patch."""
        return Cells((self.patch_size - self.stride) / 2, float(self.stride))

    @override
    def forward(self, images: Tensor) -> Tensor:
        h, w = self.grid(*images.shape[-2:])
        last = self.layer + (self.facet == "token")
        tokens = self._tokens(self.normalise(images), last, h, w)
        if self.facet != "token":
            tokens = self._project(tokens)
        return tokens.transpose(1, 2).unflatten(2, (h, w))

    def _tokens(self, images: Tensor, blocks: int, h: int, w: int) -> Tensor:
        """Return the patch tokens (B, h w, C) after the first ``blocks`` blocks."""
        vit = self.vit
        if not self._plain:
            images = images[..., : h * self.patch_size, : w * self.patch_size]
            maps = vit.forward_intermediates(images, indices=[blocks - 1], stop_early=True, intermediates_only=True)
            return maps[0].flatten(2).transpose(1, 2)
        projection = vit.patch_embed.proj
        patches = F.conv2d(images, projection.weight, projection.bias, stride=self.stride)
        x = self._embed(vit.patch_embed.norm(patches.flatten(2).transpose(1, 2)), h, w)
        for block in vit.blocks[:blocks]:
            x = block(x)
        return x[:, vit.num_prefix_tokens :]

    def _embed(self, patches: Tensor, h: int, w: int) -> Tensor:
        """Add positions and prefix tokens to patches (B, h w, C)."""
        vit = self.vit
        learned = (vit.cls_token, getattr(vit, "dist_token", None), vit.reg_token)
        prefix = [token.expand(patches.shape[0], -1, -1) for token in learned if token is not None]
        positions = vit.pos_embed
        if positions is None:
            return vit.norm_pre(torch.cat([*prefix, patches], 1))
        with_prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        table = positions[:, with_prefix:].unflatten(1, vit.patch_embed.grid_size).permute(0, 3, 1, 2)
        resized = RESIZE[self.position_embedding](table, h, w).flatten(2).transpose(1, 2)
        if with_prefix:
            return vit.norm_pre(torch.cat([*prefix, patches], 1) + torch.cat([positions[:, :with_prefix], resized], 1))
        return vit.norm_pre(torch.cat([*prefix, patches + resized], 1))

    def _project(self, tokens: Tensor) -> Tensor:
        """Apply norm and one third of the attention's projection to tokens (B, N, C)."""
        block = self.vit.blocks[self.layer]
        attention, which = block.attn, _SLICE[self.facet]
        x = block.norm1(tokens)
        if getattr(attention, "qkv", None) is not None:
            bias = attention.qkv.bias
            if bias is None and getattr(attention, "q_bias", None) is not None:  # BEiT and EVA keep them apart
                bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
            x = F.linear(x, attention.qkv.weight.chunk(3)[which], None if bias is None else bias.chunk(3)[which])
        else:
            x = (attention.q_proj, attention.k_proj, attention.v_proj)[which](x)
        heads = _projection(block, self.facet)[1]
        return x.unflatten(2, (heads, -1)).transpose(2, 3).flatten(2)


def _projection(block: Any, facet: str) -> tuple[int, int]:
    """Return the channels and the heads of a facet; keys and values may have fewer heads than queries."""
    attention = block.attn
    if getattr(attention, "qkv", None) is not None:
        return attention.qkv.out_features // 3, attention.num_heads
    own = getattr(attention, f"{facet[0]}_proj").out_features
    return own, attention.num_heads * own // attention.q_proj.out_features


def create_vit(model: str, weights: str | None, model_args: dict[str, Any]) -> Any:
    """Create a timm vision transformer without its head; see ``ViTFeatures`` for the arguments and errors.

    Raises:
        UserError: timm has no such model or cannot fetch or build it, it is no plain vision transformer, or the
            weights do not fit.
    """
    import timm

    hub = weights == "timm"
    try:
        try:
            vit = timm.create_model(model, pretrained=hub, num_classes=0, dynamic_img_size=True, **model_args)
        except TypeError:  # BEiT has one fixed size, ``img_size``
            vit = timm.create_model(model, pretrained=hub, num_classes=0, **model_args)
    except RuntimeError as error:
        if "Unknown model" in str(error) or "Invalid pretrained tag" in str(error):
            raise UserError(f"timm has no model '{model}'; similar ones: {_similar(model)}") from error
        raise UserError(_cannot_fetch(model, error) if hub else f"'{model}' cannot be built: {error}") from error
    except (OSError, ValueError) as error:  # no network, or a tag without weights
        raise UserError(_cannot_fetch(model, error) if hub else f"'{model}' cannot be built: {error}") from error
    except (TypeError, AssertionError, ZeroDivisionError) as error:
        raise UserError(f"'{model}' cannot be built as a vision transformer: {error}") from error
    if (reason := _not_plain(vit)) is not None:
        raise UserError(
            f"'{model}' is not a plain vision transformer: {reason}. Take one whose blocks all have the same grid of "
            "patches, such as vit_small_patch16_224.dino"
        )
    if weights is not None and not hub:
        state = read_state_dict(weights)
        if any(key.startswith(OF_DETECTOR) for key in state):
            remove_final_norm(vit)  # a detector's ViT has none, and nobody shall take one that never learned
        load_read(vit, state, weights, ignore=_HEADS)
    return vit


def _not_plain(vit: Any) -> str | None:
    """Return why a network has no dense features of one grid, layer by layer; None if it has them."""
    if not hasattr(vit, "blocks") or not hasattr(vit, "patch_embed"):
        return "it has no sequence of blocks"
    if getattr(getattr(vit.patch_embed, "proj", None), "in_channels", None) != 3:
        return "its patches are not cut from the image itself by one convolution"
    if not isinstance(getattr(vit, "embed_dim", None), int):
        return "its channels, and with them its grid, change from block to block"
    return None


def remove_final_norm(vit: Any) -> None:
    """Put nothing in the place of the norm behind the last block, which dense features do without."""
    for name in ("norm", "fc_norm"):
        if hasattr(vit, name):
            setattr(vit, name, nn.Identity())


def _cannot_fetch(model: str, error: Exception) -> str:
    import timm

    config = timm.get_pretrained_cfg(model)
    source = getattr(config, "hf_hub_id", None) or getattr(config, "url", None) or model
    return (
        f"cannot fetch the weights of '{model}' ({type(error).__name__}). Without a network: fetch '{source}' "
        "(model.safetensors) elsewhere and give its path as weights=<file>, or weights=None for "
        "random ones."
    )


def _similar(model: str) -> str:
    """Return names of models, or of weights where only the tag is unknown, that look like ``model``."""
    import timm

    architecture = model.strip().partition(".")[0]
    tagged = timm.list_pretrained(f"{architecture}.*") if timm.is_model(architecture) else []
    return ", ".join(tagged or get_close_matches(architecture, timm.list_models(), n=4)) or "see timm.list_models()"


def is_pre_norm(block: nn.Module) -> bool:
    """Whether the block normalises and then projects: variants that normalise afterwards have a ``norm1`` too."""
    return hasattr(block, "norm1") and hasattr(block, "attn") and "Post" not in type(block).__name__


def _is_plain(vit: Any) -> bool:
    """Whether this is timm's VisionTransformer, whose embedding stage is written out here (strides, DINO positions)."""
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(vit, VisionTransformer)
