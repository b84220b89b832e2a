"""The precision that the hardware at hand is quick in: bfloat16 where it has arithmetic for it, else float32.

A processor without it computes in bfloat16 all the same, ten times slower than in float32.
"""

import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch

AUTO = "auto"
# Those that hold products of bfloat16, by the names of torch.cpu.get_capabilities.
X86, ARM = ("amx_bf16", "avx512_bf16"), ("sve_bf16", "bf16")


class Chosen(NamedTuple):
    """A precision of a ``pytorch_lightning.Trainer``, and why it was chosen, as part of a sentence."""

    precision: Literal["bf16-mixed", "32-true"]
    reason: str


def quick_precision(accelerator: Any = "auto") -> Chosen:
    """Return the mixed precision that is quick on a machine, or float32.

    Args:
        accelerator: as a ``pytorch_lightning.Trainer`` takes it: a name such as "cpu", "gpu" or "auto", or an object.
    """
    name = accelerator if isinstance(accelerator, str) else type(accelerator).__name__.removesuffix("Accelerator")
    name = name.lower()
    if name in ("gpu", "cuda") or (name == "auto" and torch.cuda.is_available()):
        able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
        what = f"the GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "the GPU"
    elif name in ("auto", "cpu"):
        able, what = processor_has_bfloat16(), f"this processor ({', '.join(processor_abilities())})"
    else:
        return Chosen("32-true", f"nothing is known of bfloat16 on the accelerator {name}")
    if able:
        return Chosen("bf16-mixed", f"{what} has bfloat16")
    return Chosen("32-true", f"{what} has no bfloat16")


def processor_has_bfloat16() -> bool:
    """Return whether torch is quick in bfloat16 on this processor."""
    return any(ability in (*X86, *ARM) for ability in processor_abilities())


def processor_abilities() -> list[str]:
    """Return what decides how quick this processor is: vectors, such as "avx2" or "avx512", and kinds of bfloat16.

    Of abilities that torch was told to leave alone (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) there is none.
    """
    vectors = torch.backends.cpu.get_cpu_capability().lower()
    there = _capabilities()
    known = ARM if there.get("architecture", "x86_64") not in ("x86_64", "AMD64") else X86
    allowed = torch.backends.mkldnn.is_available() and not _limited()
    if known == X86 and not vectors.startswith("avx512"):
        allowed = False
    return [vectors, *(name for name in known if allowed and there.get(name))]


def _limited() -> bool:
    """Return whether oneDNN, which multiplies and convolves, was told to leave bfloat16 alone."""
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    return not (most in ("ALL", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_FP16") or "AMX" in most or "AVX10" in most)


def _capabilities() -> Mapping[str, Any]:
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    # Of torch before 2.11, which tells of x86 alone.
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx_bf16": torch.cpu._is_amx_tile_supported()}
