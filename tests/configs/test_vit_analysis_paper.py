"""configs/paper/vit_analysis.yaml names the ViTs of table 2.2: the right architectures, and tags that timm has."""

import pytest
import timm
import torch
import yaml

import cli
from networks.vit_layers import LayeredViT, check_layers
from tests.helpers.replicas import make_davis, make_spair
from tests.helpers.replicas_vit import (
    make_coco_instances,
    make_imagenet_50,
    make_imagenet_parts,
    make_part_imagenet,
    make_retrieval,
)
from tests.helpers.runs import ROOT

CONFIG = "configs/paper/vit_analysis.yaml"
MODELS = yaml.safe_load((ROOT / CONFIG).read_text())["model"]["init_args"]["models"]
TABLE_2_2 = {  # layers, heads, tokens a side
    "FS S/32": (12, 6, 7),
    "FS S/16": (12, 6, 14),
    "FS B/32": (12, 12, 7),
    "FS B/16": (12, 12, 14),
    "FS B/8": (12, 12, 28),
    "FS L/16": (24, 16, 14),
    "CLIP B/32": (12, 12, 7),
    "CLIP B/16": (12, 12, 14),
    "CLIP L/14": (24, 16, 16),
    "DINO S/16": (12, 6, 14),
    "DINO S/8": (12, 6, 28),
    "DINO B/16": (12, 12, 14),
    "DINO B/8": (12, 12, 28),
    "MoCo S/16": (12, 12, 14),
    "MoCo B/16": (12, 12, 14),
    "MAE B/16": (12, 12, 14),
    "MAE L/16": (24, 16, 14),
    "MAE H/14": (32, 16, 16),
    "BEiT B/16": (12, 12, 14),
    "BEiT L/16": (24, 16, 14),
}
MEANS = {"FS": 0.5, "CLIP": 0.48145466, "DINO": 0.485, "MoCo": 0.485, "MAE": 0.485, "BEiT": 0.5}


def build(entry):
    """Return the ViT of an entry without memory for its weights."""
    with torch.device("meta"):
        return timm.create_model(entry["model"], num_classes=0, **entry.get("model_args", {}))


def test_models_are_those_of_the_table_in_its_order():
    assert list(MODELS) == [*TABLE_2_2, "Random"]
    assert all(entry["method"] == name.split()[0] for name, entry in MODELS.items())


@pytest.mark.parametrize("name", TABLE_2_2)
def test_architecture_and_normalisation(name):
    entry = MODELS[name]
    vit = build(entry)
    check_layers(vit, entry["model"])
    layers, heads, side = TABLE_2_2[name]
    assert (len(vit.blocks), vit.blocks[0].attn.num_heads, vit.patch_embed.grid_size) == (layers, heads, (side, side))
    assert entry.get("mean", vit.pretrained_cfg["mean"])[0] == MEANS[entry["method"]]


def test_tags_name_the_weights_of_the_thesis():
    tags = {name: entry["model"] for name, entry in MODELS.items() if entry["weights"] == "timm"}
    assert set(tags.values()) <= set(timm.list_pretrained())
    endings = {"FS": ".augreg_in21k_ft_in1k", "CLIP": "_clip_quickgelu_224.openai", "DINO": ".dino", "MAE": ".mae"}
    assert all(tag.endswith(endings[name.split()[0]]) for name, tag in tags.items())
    # None of timm's: MoCo-v3, BEiT before fine-tuning, and DINO S/8 after 300 epochs.
    assert set(MODELS) - set(tags) == {"DINO S/8", "MoCo S/16", "MoCo B/16", "BEiT B/16", "BEiT L/16", "Random"}


@pytest.mark.parametrize("name", ["BEiT B/16", "BEiT L/16"])
def test_beit_shares_its_relative_positions_and_scales_its_layers(name):
    names = set(build(MODELS[name]).state_dict())
    # What the authors' file has for the ViT itself (unilm/beit/modeling_pretrain.py).
    assert {"cls_token", "norm.weight", "rel_pos_bias.relative_position_bias_table"} <= names
    block = {key.removeprefix("blocks.0.") for key in names if key.startswith("blocks.0.")}
    assert {"gamma_1", "gamma_2", "attn.q_bias", "attn.v_bias"} <= block
    assert not any("relative_position" in key for key in block)
    assert not {"pos_embed", "fc_norm.weight", "attn.k_bias"} & (names | block)


def test_the_authors_file_of_beit_loads(tmp_path):
    entry = MODELS["BEiT B/16"]
    small = entry["model_args"] | {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}
    state = timm.create_model(entry["model"], num_classes=0, **small).state_dict()
    of_training = {
        "lm_head.weight": torch.ones(8, 24),
        "lm_head.bias": torch.ones(8),
        "mask_token": torch.ones(1, 1, 24),
    }
    of_training["rel_pos_bias.relative_position_index"] = torch.zeros(5, 5, dtype=torch.long)
    torch.save({"model": state | of_training}, tmp_path / "beit.pth")
    vit = LayeredViT(entry["model"], str(tmp_path / "beit.pth"), small)
    assert all(torch.equal(tensor, state[name]) for name, tensor in vit.vit.state_dict().items())


def test_it_runs_on_replicas_of_all_its_data(tmp_path, monkeypatch, capsys):
    """All protocols and data of the file; of its ViTs one, cut down to two blocks of random weights, and chance."""
    data = tmp_path / "data"
    make_imagenet_50(data / "imagenet")
    make_part_imagenet(data / "PartImageNet")
    make_coco_instances(data)
    for name in ("roxford5k", "rparis6k"):
        make_retrieval(data / "revisited", name)
    make_spair(data)
    make_davis(data)
    monkeypatch.setenv("DATA_ROOT", str(data))
    config = yaml.safe_load((ROOT / CONFIG).read_text())
    small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    models = {"FS B/16": MODELS["FS B/16"], "Random": MODELS["Random"]}
    models = {name: entry | {"weights": None, "model_args": small} for name, entry in models.items()}
    config["model"]["init_args"]["models"] = models
    neighbours = make_imagenet_parts(data / "imagenet with val")
    for part in config["data"]["init_args"]["parts"]:
        if part["class_path"].endswith("ImageNetNeighbours"):
            part["init_args"]["root"] = str(neighbours)
        if "num_workers" in part["init_args"]:
            part["init_args"]["num_workers"] = 0
    for callback in config["trainer"]["callbacks"]:
        options = callback.get("init_args", {})
        # The replicas have a handful of samples.
        options |= {key: 2 for key in options if key.endswith("clusters")} | {key: 1 for key in options if key == "k"}
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    words = [f"--runs_dir={tmp_path / 'runs'}", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
    run = cli.main(["test", f"--config={tmp_path / 'few.yaml'}", *words]).run_folder
    protocols = {path.stem for path in (run / "arrays").glob("FS*/*.npz")}
    assert protocols == {
        "attention", "saliency", "similarity", "clustering", "knn", "retrieval", "probe", "keypoints", "video",
        "dense-video",
    }  # fmt: skip
    table = (run / "results" / "table_2_5.md").read_text()
    assert "ROxford5k" in table
    assert "RParis6k" in table
    assert "FS B/16" in capsys.readouterr().out


@pytest.mark.slow
def test_command_line_takes_it(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["test", f"--config={CONFIG}", "--print_config"])
    assert caught.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["init_args"]["models"]["BEiT L/16"]["model_args"]["init_values"] == 1e-5
    tasks = [part["init_args"].get("task") for part in printed["data"]["init_args"]["parts"]]
    assert tasks[-2:] == ["video", "dense-video"]
