import inspect
from dataclasses import fields

import pytest

import lightning_modules
from visionscapes.renamed_options import MODEL, RENAMED, new_name, old_name, with_new_names, with_old_names

# As the constructors took them before they had groups.
OLD = {
    "GANDiscovery": """
        backbone weights backbone_args hidden dim dropout most_classes rounds epochs epochs_later lr balance
        freeze_from exact_norms method k hashes window percentile inside members rule scale merge_distance
        components merging repeats epsilon tau max_negatives jobs seed
    """,
    "GRIT": """
        classes condition_channels image_size style_dim base most downs noise residual composition
        content_fc style_condition full_resolution_skip discriminator discriminator_base stddev_group
        reconstruction vgg_weights gan_loss lambda_rec lambda_z r1 r2 penalty_every lr beta1 beta2 ema
        decay_epochs warmup clip accumulate channels_last compile
    """,
    "Pix2PixHD": """
        classes condition_channels image_size base downs blocks style_channels discriminator_base scales
        lambda_features lambda_vgg vgg_weights lr beta1 beta2 ema decay_epochs accumulate channels_last
        compile
    """,
    "SPADE": """
        classes condition_channels image_size style_dim base hidden discriminator_base scales
        lambda_features lambda_vgg lambda_kl vgg_weights lr beta1 beta2 ema decay_epochs accumulate
        channels_last compile
    """,
}


def test_the_table_is_of_the_classes_that_had_other_names():
    assert RENAMED.keys() == OLD.keys()


@pytest.mark.parametrize("name", OLD)
def test_every_old_option_is_one_of_today(name):
    parameters = inspect.signature(getattr(lightning_modules, name)).parameters
    for option in OLD[name].split():
        group, dot, inner = new_name(name, option, 1).partition(".")
        assert group in parameters, option
        if dot:
            assert inner in {field.name for field in fields(parameters[group].default)}, option
    assert RENAMED[name].keys() <= set(OLD[name].split())


def test_a_new_name_had_one_old_name():
    """So that a key of a recorded run says what it was called without its class."""
    known: dict[str, str] = {}
    for names in RENAMED.values():
        assert len(set(names.values())) == len(names)
        for old, new in names.items():
            assert known.setdefault(new, old) == old


@pytest.mark.parametrize("name", OLD)
def test_there_and_back(name):
    old = {option: place for place, option in enumerate(OLD[name].split())}
    new = with_new_names(name, old)
    assert with_old_names(name, new) == old
    assert with_new_names(name, new) == new
    assert with_old_names(name, old) == old


def test_new_names_win_over_old_ones_and_stand_beside_them():
    given = {"k": 3, "tau": 4, "stages": {"k": 5, "hashes": 6}, "lr": 0.1}
    assert with_new_names("GANDiscovery", given) == {"stages": {"k": 5, "tau": 4, "hashes": 6}, "lr": 0.1}


def test_a_name_that_was_an_option_and_is_a_group():
    assert with_new_names("GRIT", {"discriminator": "residual"}) == {"discriminator": {"architecture": "residual"}}
    today = {"discriminator": {"architecture": "residual", "base": 8}}
    assert with_new_names("GRIT", today) == today
    assert new_name("GRIT", "discriminator", "residual") == "discriminator.architecture"
    assert new_name("GRIT", "discriminator", "{base: 8}") == new_name("GRIT", "discriminator.base", "8")[:13]
    assert new_name("GRIT", "discriminator.base", "8") == "discriminator.base"


def test_parts_of_values_and_other_classes():
    assert new_name("GANDiscovery", "backbone_args.depth", 3) == "network.backbone_args.depth"
    assert new_name("LiFT", "lr", 3) == "lr"
    assert with_new_names("LiFT", {"backbone": {"k": 1}}) == {"backbone": {"k": 1}}


def test_keys_of_runs():
    assert old_name(f"{MODEL}stages.k") == f"{MODEL}k"
    assert old_name(f"{MODEL}discriminator.base") == f"{MODEL}discriminator_base"
    assert old_name(f"{MODEL}network.backbone_args.depth") == f"{MODEL}backbone_args.depth"
    for key in ("data.init_args.image_size", f"{MODEL}lr", f"{MODEL}backbone.init_args.model", f"{MODEL}stages_k"):
        assert old_name(key) == key


def test_an_option_as_young_as_its_group_has_no_other_name():
    assert with_old_names("GRIT", {"optimizer": {"lr": 1, "decay_floor": 0}}) == {
        "lr": 1,
        "optimizer": {"decay_floor": 0},
    }
