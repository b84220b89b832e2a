"""A GLIGEN that inpaints, with random weights and few of them, in the files of a published one."""

from pathlib import Path
from typing import Any

import torch

LETTERS = [*"abcdefghijklmnopqrstuvwxyz,"]
WORDS = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
SIDE = 64


def write_gligen(folder: Path, *, attention: str = "gated", in_channels: int = 9, fused: float = 1.0) -> Path:
    """Write a pipeline of 64 pixels as ``save_pretrained`` does.

    Args:
        folder: of the pipeline.
        attention: of the U-Net; "default" takes no boxes.
        in_channels: 9 inpaints, 4 does not.
        fused: weight of the layers that are told the boxes, which begin at 0; at 0 boxes change nothing.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionGLIGENPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=SIDE // 8,
        in_channels=in_channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        attention_type=attention,
        norm_num_groups=8,
    )
    for module in unet.modules():
        for name in ("alpha_attn", "alpha_dense"):
            if hasattr(module, name):
                getattr(module, name).data.fill_(fused)
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIDE,
    )
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = CLIPTextConfig(vocab_size=len(WORDS), num_attention_heads=2, max_position_embeddings=77, **size, **ids)
    StableDiffusionGLIGENPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(vocab={word: n for n, word in enumerate(WORDS)}, merges=[], model_max_length=77),
        unet=unet,
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
