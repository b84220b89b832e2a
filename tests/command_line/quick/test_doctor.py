import json
import shutil
import socket
from importlib import metadata
from pathlib import Path

import pytest

import cli
from command_line.quick import doctor as doctors
from command_line.quick.doctor import caches, data_sets, disks, doctor, graphics_processors, reaches, versions, weights
from visionscapes.bundled import ROOT


def test_what_is_there_as_text_and_as_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    found = {each["name"]: each for each in json.loads(doctor(["--json"]))}
    assert found["torch"]["text"] == metadata.version("torch")
    assert found["WANDB_MODE"]["text"] == "offline"
    assert found["weights/"]["remedy"] == ""
    assert {each["part"] for each in found.values()} >= {"versions", "devices", "disk", "data", "weights", "network"}
    assert all(name in text for name in found)


def test_packages_that_are_missing_or_unfit(monkeypatch):
    wanted = ["torch<1", "nothing-of-this-name>=2", "numpy>=1", "sphinx; extra == 'docs'"]
    monkeypatch.setattr(doctors.metadata, "requires", lambda name: wanted)
    told = {each.name: each.remedy for each in versions() if each.remedy}
    assert sorted(told) == [
        "nothing-of-this-name is missing, wanted >=2",
        f"torch {metadata.version('torch')}, wanted <1",
    ]
    assert all("make setup" in remedy for remedy in told.values())

    def none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctors.metadata, "version", none)
    assert [each.remedy for each in versions()] == ["", "make setup"]


def test_data_sets_are_those_that_configurations_name(tmp_path):
    (tmp_path / "coco" / "train2017").mkdir(parents=True)
    found = {each.name: each.text for each in data_sets({"DATA_ROOT": str(tmp_path)})}
    assert found["coco"].startswith("is there  ")
    assert "lift_vitdet" in found["coco/train2017"]
    assert found["DAVIS"].startswith("- ")
    assert not [name for name in found if "}" in name or name.endswith("/")]
    (missing,) = data_sets({"DATA_ROOT": str(tmp_path / "nowhere")})
    assert "is not there" in missing.text


def test_weights_that_are_damaged_or_missing(tmp_path):
    shutil.copytree(ROOT / "weights", tmp_path / "weights")
    assert [each.remedy for each in weights(tmp_path)] == [""]
    names = [line.split()[1] for line in (tmp_path / "weights" / "SHA256SUMS").read_text().splitlines()]
    first, second = (tmp_path / "weights" / name for name in names[:2])
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    second.unlink()
    whole, *wrong = weights(tmp_path)
    assert whole.text == f"{len(names) - 2} of {len(names)} files are whole"
    assert [each.name for each in wrong] == names[:2]
    assert all(each.remedy for each in wrong)
    shutil.rmtree(tmp_path / "weights")
    assert [each.remedy for each in weights(tmp_path)] == ["check the code out again"]


def test_what_hubs_have_left(tmp_path):
    (tmp_path / "hf" / "hub" / "models--timm--vit_small").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    for number in range(6):
        (tmp_path / "torch" / "hub" / "checkpoints" / f"net{number}.pth").touch()
    there = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}
    assert [each.text for each in caches(there)] == [
        "timm/vit_small",
        "net0.pth, net1.pth, net2.pth, net3.pth and 2 more",
    ]


def test_the_network_is_asked():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert reaches("127.0.0.1", port)
    assert not reaches("127.0.0.1", port)
    assert not reaches("no-such-host.invalid", 443)


def test_gpus_as_nvidia_smi_tells_them(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB, 570.1'\necho 'NVIDIA T4, 15360 MiB, 570.1'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert graphics_processors() == ["NVIDIA H200, 143771 MiB, 570.1", "NVIDIA T4, 15360 MiB, 570.1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert graphics_processors() == []


def test_little_room_is_told(monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 0, 10**6)
    monkeypatch.setattr(doctors.shutil, "disk_usage", lambda path: usage)
    assert [bool(each.remedy) for each in disks(Path.cwd())][:2] == [True, True][: len(list(disks(Path.cwd())))]


@pytest.mark.parametrize("words", [["--jsn"], ["all"]])
def test_mistakes_are_one_line(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", *words])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
