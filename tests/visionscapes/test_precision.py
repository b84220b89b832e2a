import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.accelerators import CPUAccelerator

from visionscapes import precision
from visionscapes.precision import Chosen, processor_abilities, processor_has_bfloat16, quick_precision

X86 = {"architecture": "x86_64", "avx2": True}


@pytest.fixture
def processor(monkeypatch):
    """Pass for another processor."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)

    def pretend(vectors, **abilities):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("vectors", "capabilities", "abilities"),
    [
        ("AVX2", X86, ["avx2"]),
        ("AVX512", X86, ["avx512"]),
        ("AVX512", X86 | {"avx512_bf16": True}, ["avx512", "avx512_bf16"]),
        ("AVX512", X86 | {"avx512_bf16": True, "amx_bf16": True}, ["avx512", "amx_bf16", "avx512_bf16"]),
        ("AVX2", X86 | {"avx512_bf16": True}, ["avx2"]),  # told so by ATEN_CPU_CAPABILITY
        ("DEFAULT", X86 | {"avx512_bf16": True}, ["default"]),
        ("DEFAULT", {"architecture": "aarch64", "neon": True}, ["default"]),
        ("DEFAULT", {"architecture": "aarch64", "neon": True, "bf16": True}, ["default", "bf16"]),
        ("SVE256", {"architecture": "aarch64", "bf16": True, "sve_bf16": True}, ["sve256", "sve_bf16", "bf16"]),
    ],
)
def test_bfloat16_where_the_processor_has_it(processor, vectors, capabilities, abilities):
    processor(vectors, **capabilities)
    assert processor_abilities() == abilities
    assert processor_has_bfloat16() == (len(abilities) > 1)
    expected = "bf16-mixed" if len(abilities) > 1 else "32-true"
    for accelerator in ("auto", "cpu", CPUAccelerator()):
        chosen = quick_precision(accelerator)
        assert chosen.precision == expected
        assert ", ".join(abilities) in chosen.reason


@pytest.mark.parametrize(
    ("most", "able"),
    [
        ("AVX2", False),
        ("AVX512_CORE_VNNI", False),
        ("AVX512_CORE_BF16", True),
        ("avx512_core_amx", True),
        ("ALL", True),
    ],
)
def test_onednn_may_be_told_to_leave_bfloat16_alone(processor, monkeypatch, most, able):
    processor("AVX512", **X86, avx512_bf16=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)
    assert processor_has_bfloat16() is able


def test_without_onednn_bfloat16_is_slow(processor, monkeypatch):
    processor("AVX512", **X86, avx512_bf16=True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not processor_has_bfloat16()


def test_torch_before_it_told_of_capabilities(processor, monkeypatch):
    processor("AVX512")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert processor_abilities() == ["avx512", "avx512_bf16"]


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_asked_where_there_is_one(monkeypatch, able, expected):
    pretended = {
        "is_available": lambda: True,
        "is_bf16_supported": lambda including_emulation: able and not including_emulation,
        "get_device_name": lambda: "V100",
    }
    for name, answer in pretended.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    for accelerator in ("auto", "gpu", "cuda"):
        assert quick_precision(accelerator).precision == expected
        assert "GPU V100" in quick_precision(accelerator).reason
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: not able)
    assert quick_precision("cpu").precision != expected


def test_of_other_accelerators_nothing_is_known():
    class TPUAccelerator(SimpleNamespace):
        pass

    expected = Chosen("32-true", "nothing is known of bfloat16 on the accelerator tpu")
    assert quick_precision("tpu") == quick_precision(TPUAccelerator()) == expected


def test_torch_told_to_use_avx2_alone():
    """The real variable, which torch reads when it is imported."""
    program = "from visionscapes.precision import quick_precision; print(*quick_precision('cpu'))"
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    if torch.cpu._is_avx2_supported():
        assert found.stdout == "32-true this processor (avx2) has no bfloat16\n"
    else:
        assert "this processor" in found.stdout
