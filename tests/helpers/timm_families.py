"""Models of all families of timm that have anything of a vision transformer, for tests that walk over them."""

# The smallest model of every family of timm, and more of those that are built in several ways. Of a family that is not
# listed, because timm is newer, the first one is taken.
SMALLEST = {
    "beit": ["beit_base_patch16_224"],
    "cait": ["cait_xxs24_224"],
    "convit": ["convit_tiny"],
    "deepseek_vit": ["deepseek_vit_412m_enc"],
    "deit": ["deit_tiny_patch16_224", "deit3_small_patch16_224", "deit_tiny_distilled_patch16_224"],
    "eva": [
        "vit_tiny_patch16_dinov3_qkvb",
        "eva02_tiny_patch14_224",
        "eva_giant_patch14_224",
        "eva02_enormous_patch14_clip_224",
        "vit_small_patch16_rope_224",
        "vit_small_patch16_rope_ape_224",
        "vit_medium_patch16_rope_reg1_gap_256",
        "vit_betwixt_patch16_rope_reg4_gap_256",
        "vit_pe_spatial_tiny_patch16_512",
    ],
    "qwen3_vit": ["qwen3_vit_88m_enc"],
    "vision_transformer": [
        "test_vit",
        "test_vit2",
        "flexivit_small",
        "vit_base_patch16_rpn_224",
        "vit_base_patch16_siglip_224",
        "vit_base_patch16_xp_224",
        "vit_dwee_patch16_reg1_gap_256",
        "vit_dpwee_patch16_reg1_gap_256",
        "vit_pwee_patch16_reg1_gap_256",
        "vit_small_patch14_reg4_dinov2",
        "vit_small_patch16_18x2_224",
        "vit_xsmall_patch16_clip_224",
    ],
    "vision_transformer_relpos": [
        "test_vit_relpos",
        "vit_relpos_medium_patch16_cls_224",
        "vit_relpos_small_patch16_rpn_224",
    ],
    "vision_transformer_sam": ["samvit_base_patch16_224", "samvit_base_patch16"],
    # No plain vision transformers: of the others any model says so.
    "coat": ["coat_tiny"],
    "crossvit": ["crossvit_tiny_240"],
    "davit": ["davit_tiny"],
    "hiera": ["hiera_tiny_224"],
    "hieradet_sam2": ["sam2_hiera_tiny"],
    "gemma4_vit": ["gemma4_vit_167m_enc"],
    "levit": ["levit_128s"],
    "maxxvit": ["test_coatnet"],
    "mvitv2": ["mvitv2_tiny"],
    "naflexvit": ["naflexvit_base_patch16_gap"],
    "nasnet": ["nasnetalarge"],
    "nextvit": ["nextvit_small"],
    "pit": ["pit_ti_224"],
    "pvt_v2": ["pvt_v2_b0"],
    "swin_transformer": ["swin_tiny_patch4_window7_224"],
    "swin_transformer_v2": ["swinv2_tiny_window8_256"],
    "swin_transformer_v2_cr": ["swinv2_cr_tiny_224"],
    "tnt": ["tnt_s_legacy_patch16_224"],
    "twins": ["twins_svt_small"],
    "vision_transformer_hybrid": ["vit_tiny_r_s16_p8_224"],
    "vitamin": ["vitamin_small_224"],
    "volo": ["volo_d1_224"],
    "xcit": ["xcit_nano_12_p8_224"],
}
WITHOUT_FACETS = {  # but with tokens
    "eva02_enormous_patch14_clip_224",
    "vit_base_patch16_rpn_224",
    "vit_base_patch16_xp_224",
    "vit_dpwee_patch16_reg1_gap_256",
    "vit_pwee_patch16_reg1_gap_256",
    "vit_small_patch16_18x2_224",
    "vit_relpos_small_patch16_rpn_224",
}
PLAIN_FAMILIES = list(SMALLEST)[: list(SMALLEST).index("coat")]


def few_blocks(model: str) -> dict[str, int]:
    """Return arguments of timm that make a model of a large family small enough to be built in a moment."""
    family = next(family for family, models in SMALLEST.items() if model in models)
    return {"depth": 3} if family in ("deepseek_vit", "eva", "qwen3_vit", "vision_transformer") else {}
