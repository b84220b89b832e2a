import numpy as np
import pytest
import torch

from datamodules.procedural.sources import sources
from datamodules.procedural.sources.diffusion import PictureDiffusion
from datamodules.procedural.sources.sources import SETTINGS, SourceSetting, render_source
from datamodules.sources.images import SourceImages
from datamodules.sources.world import DISCOVERED, SettingName, SourceWorld
from tests.helpers.image_files import save_photo
from tests.helpers.tiny_diffusion import write_diffusion
from visionscapes.errors import UserError

SMALL = {"images": 2, "discovery_images": 3, "image_size": 16, "batch_size": 4, "setting": "gans_0"}


def world(**options):
    data = SourceWorld(**SMALL | options)
    data.setup("fit")
    return data


@pytest.fixture
def few(monkeypatch):
    """Leave few of the sources of the setting, for the sake of time."""
    few = SourceSetting(("faces_real", "objects_real"), ("faces_real", "portraits_decoder_d"))
    monkeypatch.setitem(SETTINGS, "gans_0", few)


@pytest.fixture
def unrendered(monkeypatch):
    """Let a picture tell its source and number without being drawn, which takes most of the time."""

    def blank(seed, source, first, count, size, diffusion=None):
        return np.full((count, size, size, 3), len(source), np.uint8)

    monkeypatch.setattr("datamodules.sources.world.render_source", blank)


def test_pictures_are_those_of_their_sources(few):
    data = world()
    assert data.classes == ("faces_real", "objects_real")
    batch = next(iter(data.labelled_dataloader()))
    assert batch["label"].tolist() == [0, 0, 1, 1]
    wanted = render_source(0, "objects_real", 0, 2, 16)
    assert torch.equal(batch["image"][2:] * 255, torch.from_numpy(wanted).permute(0, 3, 1, 2).float())
    index = data.discovery_names.index("portraits_decoder_d/2")
    assert np.array_equal(
        data.discovery_image(index), render_source(0, "portraits_decoder_d", DISCOVERED + 2, 1, 16)[0]
    )


def test_a_world_follows_from_its_seed(few):
    first, again, other = world(), world(), world(seed=1)
    for a, b, c in zip(first.train_dataloader(), again.train_dataloader(), other.train_dataloader(), strict=True):
        assert torch.equal(a["image"], b["image"])
        assert not torch.equal(a["image"], c["image"])


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_its_sources(unrendered, setting):
    data = world(setting=setting)
    wanted = SETTINGS[setting]
    assert data.classes == tuple(sorted(wanted.labelled))
    coming = {*wanted.discovery, *(name for names in wanted.arrivals.values() for name in names)}
    assert set(data.sources) == {*wanted.labelled, *coming}
    assert data.sources[len(data.classes) :] == tuple(sorted(coming - set(wanted.labelled)))
    assert data.real == {name for name in data.sources if name.endswith("_real")}
    assert len(data.discovery_names) == len(set(data.discovery_names)) == 3 * len(coming)
    assert [data.sources[source] for source in data.truth] == [name.split("/")[0] for name in data.discovery_names]
    assert data.counts() == (2 * len(wanted.labelled), 0)


def test_every_setting_is_offered():
    assert set(SettingName.__args__) == set(SETTINGS)


def test_the_online_world_grows_in_rounds_3_and_5(unrendered):
    data = world(setting="online")
    assert [data.arrived(number) // 3 for number in range(1, 7)] == [17, 17, 20, 20, 23, 23]
    for first, last in ((0, 17), (17, 20), (20, 23)):
        names = data.discovery_names[3 * first : 3 * last]
        assert names == sorted(names)


def test_names_sort_as_their_numbers_do(unrendered):
    data = world(discovery_images=12)
    assert data.discovery_names[:12] == [f"faces_decoder_a/{number:02d}" for number in range(12)]


def test_a_diffusion_model_is_a_source_to_be_discovered_for_each_of_its_contents(few, tmp_path):
    path = write_diffusion(tmp_path / "a.safetensors", ("rooms", "faces"))
    plain, data = world(), world(diffusion=str(path))
    assert data.classes == plain.classes
    assert data.sources == (*plain.sources[:2], "faces_diffusion", "portraits_decoder_d", "rooms_diffusion")
    assert data.real == plain.real
    assert data.discovery_count == len(data.discovery_names) == plain.discovery_count + 2 * 3
    assert SourceWorld(**SMALL, diffusion=str(path)).discovery_count == data.discovery_count, "before it is set up"
    model = PictureDiffusion(path)
    wanted = render_source(0, "rooms_diffusion", DISCOVERED, 3, 16, model)
    found = [data.discovery_image(data.discovery_names.index(f"rooms_diffusion/{number}")) for number in range(3)]
    assert np.array_equal(found, wanted)
    assert np.array_equal(wanted[2:], render_source(0, "rooms_diffusion", DISCOVERED + 2, 1, 16, model))
    others = {name: plain.discovery_image(number) for number, name in enumerate(plain.discovery_names)}
    for number, name in enumerate(data.discovery_names):
        assert "diffusion" in name or np.array_equal(data.discovery_image(number), others[name]), "others stay"


def test_a_diffusion_model_needs_its_file_and_the_world(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        world(diffusion=str(tmp_path / "none.safetensors"))
    with pytest.raises(UserError, match="diffusion adds sources to the world"):
        SourceWorld(**SMALL, labelled="x", discovery="y", diffusion="z")


def test_folders_take_the_place_of_the_world(tmp_path):
    for name in (
        "train/real_x/1.png",
        "train/real_x/2.png",
        "train/gan_x/1.png",
        "train/gan_x/2.png",
        "eval/new/1.png",
    ):
        save_photo(tmp_path / name, 20, 18, seed=sum(map(ord, name)))
    folders = {"labelled": str(tmp_path / "train"), "discovery": str(tmp_path / "eval")}
    data = world(**folders)
    plain = SourceImages(**folders, image_size=16, batch_size=4, num_workers=0)
    plain.setup("fit")
    assert data.sources == plain.sources == ("gan_x", "real_x", "new")
    assert data.real == plain.real == {"real_x"}
    assert data.discovery_names == plain.discovery_names == ["new/1.png"]
    for a, b in zip(data.train_dataloader(), plain.train_dataloader(), strict=True):
        assert torch.equal(a["image"], b["image"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labelled": "x"}, "labelled is a folder, so discovery has to be one too"),
        ({"discovery": "x"}, "discovery is a folder, so labelled has to be one too"),
        ({"classes": ["faces_real"]}, "classes choose among folders, and there are none"),
        ({"arrivals": {3: "x"}, "real": ["y"]}, "arrivals, real choose among folders"),
        ({"setting": "table"}, "setting is 'table'; it has to be one of default, supervised, gans_0"),
        ({"images": 1}, "images is 1; it has to be at least 2"),
        ({"discovery_images": 0}, "discovery_images is 0"),
        ({"image_size": 4}, "image_size is 4"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        SourceWorld(**SMALL | options)


def test_a_world_predicts_a_folder(tmp_path):
    save_photo(tmp_path / "x.png")
    data = SourceWorld(root=str(tmp_path))
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["image"].shape == (1, 3, 64, 64)
    with pytest.raises(UserError, match="predict needs images"):
        SourceWorld().setup("predict")


def test_labelled_and_discovery_pictures_are_rendered_in_blocks_of_their_own():
    assert DISCOVERED % sources.BLOCK == 0
