import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datamodules.procedural.sources.sources import ARCHITECTURES, BLOCK, SETTINGS, is_real, render_source


def test_settings_have_the_shape_of_the_thesis_tables():
    """Known sources, sources to be discovered in the first round, and in the last one."""
    shape = {
        name: (
            len(each.labelled),
            len(each.discovery),
            len(each.discovery) + sum(len(names) for names in each.arrivals.values()),
        )
        for name, each in SETTINGS.items()
    }
    assert shape == {
        "default": (12, 20, 20),
        "supervised": (20, 20, 20),
        "gans_0": (4, 12, 12),
        "gans_1": (8, 12, 12),
        "gans_2": (12, 12, 12),
        "new_real": (12, 16, 16),
        "new_gans": (12, 16, 16),
        "new_both": (12, 20, 20),
        "new_real_starred": (16, 16, 16),
        "new_gans_starred": (16, 16, 16),
        "new_both_starred": (16, 20, 20),
        "online": (13, 17, 23),
        "seeds": (12, 22, 22),
    }
    for each in SETTINGS.values():
        coming = [*each.discovery, *(name for names in each.arrivals.values() for name in names)]
        assert len(set(coming)) == len(coming)
        assert len(set(each.labelled)) == len(each.labelled)


def test_the_default_setting_is_table_4_1():
    known, unknown = (
        SETTINGS["default"].labelled,
        set(SETTINGS["default"].discovery) - set(SETTINGS["default"].labelled),
    )
    by_content = {
        content: sum(name.startswith(content) for name in unknown)
        for content in ("faces", "portraits", "objects", "rooms")
    }
    assert by_content == {"faces": 5, "portraits": 1, "objects": 1, "rooms": 1}
    assert sum(map(is_real, known)) == 4
    assert set(known) <= set(SETTINGS["default"].discovery)


def test_known_sources_grow_with_the_number_of_generators():
    known = [set(SETTINGS[f"gans_{number}"].labelled) for number in range(3)]
    assert known[0] < known[1] < known[2]
    found = [set(SETTINGS[f"gans_{number}"].discovery) for number in range(3)]
    assert found[0] == found[1] == found[2]
    assert len(found[0] - known[2]) == 4  # in none of the labelled sets


def test_arrivals_of_the_online_setting_are_new():
    online = SETTINGS["online"]
    assert list(online.arrivals) == [3, 5]
    assert set(online.labelled) <= set(online.discovery)
    assert sum(map(is_real, online.labelled)) == 4
    for names in online.arrivals.values():
        assert not set(names) & set(online.discovery)


def test_second_seeds_are_added_to_the_default():
    more = set(SETTINGS["seeds"].discovery) - set(SETTINGS["default"].discovery)
    assert more == {"faces_decoder_d_seed_2", "rooms_decoder_d_seed_2"}
    assert "rooms_decoder_d" in SETTINGS["seeds"].labelled
    assert "faces_decoder_d" not in SETTINGS["seeds"].labelled


def test_every_architecture_is_used():
    names = {
        name
        for each in SETTINGS.values()
        for name in (*each.discovery, *(later for names in each.arrivals.values() for later in names))
    }
    assert {name.split("_")[2] for name in names if not is_real(name)} == set(ARCHITECTURES)


@pytest.mark.parametrize("source", ["faces_real", "rooms_decoder_d", "objects_decoder_e"])
def test_a_picture_is_a_function_of_seed_source_and_number(source):
    images = render_source(2, source, 0, 11, 24)
    assert (images.shape, images.dtype) == ((11, 24, 24, 3), np.uint8)
    assert np.array_equal(images[9:10], render_source(2, source, 9, 1, 24))
    assert np.array_equal(images[5:10], render_source(2, source, 5, 5, 24))  # across two blocks
    for other in (
        render_source(3, source, 0, BLOCK, 24),
        render_source(2, source, BLOCK, BLOCK, 24),
        render_source(2, "portraits_real", 0, BLOCK, 24),
    ):
        assert (images[:BLOCK] != other).any((1, 2, 3)).all()


def test_two_seeds_of_one_architecture_are_two_sources():
    assert (render_source(0, "faces_decoder_d", 0, 2, 24) != render_source(0, "faces_decoder_d_seed_2", 0, 2, 24)).any()


def test_rendering_leaves_random_numbers_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    render_source(0, "faces_decoder_a", 0, 1, 24)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.fixture(scope="module")
def faces():
    """Forty pictures of each of five sources with one kind of content."""
    names = ["faces_real", *(f"faces_decoder_{letter}" for letter in "abde")]
    images = np.concatenate([render_source(0, name, 0, 40, 64) for name in names])
    return images.astype(np.float32) / 255, np.repeat(np.arange(5), 40)


def accuracy(features, labels):
    """Return the share of every second picture that a linear classifier of the others gets right."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return model.fit(features[::2], labels[::2]).score(features[1::2], labels[1::2])


def test_content_does_not_tell_the_source(faces):
    images, labels = faces
    thumbnails = images.reshape(-1, 8, 8, 8, 8, 3).mean((2, 4)).reshape(len(images), -1)
    histograms = [[np.histogram(each[..., c], 8, (0, 1))[0] / 4096 for c in range(3)] for each in images]
    moments = np.concatenate([images.mean((1, 2)), images.std((1, 2))], 1)
    features = np.concatenate([thumbnails, np.reshape(histograms, (len(images), -1)), moments], 1)
    assert accuracy(features, labels) < 0.35  # chance is 0.2, and a hundred pictures say 0.2 +- 0.08


def spectrum(images):
    """Return the log power of what a blur takes away, on a grid of frequencies, (N, 512)."""
    blurred = sum(np.roll(images, (dy, dx), (1, 2)) for dy in range(-1, 2) for dx in range(-1, 2)) / 9
    power = np.log(np.abs(np.fft.fft2(images - blurred, axes=(1, 2))[:, :, :32]) ** 2 + 1e-6).mean(3)
    return power.reshape(-1, 32, 2, 16, 2).mean((2, 4)).reshape(len(images), -1)


def test_high_frequencies_tell_the_source(faces):
    images, labels = faces
    assert accuracy(spectrum(images), labels) > 0.7


def test_seeds_of_one_architecture_are_told_apart_though_not_as_well(faces):
    images, labels = faces
    second = render_source(0, "faces_decoder_d_seed_2", 0, 40, 64).astype(np.float32) / 255
    seeds = spectrum(np.concatenate([images[labels == 3], second]))
    assert accuracy(seeds, np.repeat([0, 1], 40)) > 0.7  # chance is 0.5, and 40 pictures say 0.5 +- 0.16
    means = [spectrum(images[labels == label]).mean(0) for label in range(1, 5)]
    apart = [np.linalg.norm(a - b) for place, a in enumerate(means) for b in means[:place]]
    assert np.linalg.norm(seeds[:40].mean(0) - seeds[40:].mean(0)) < 0.8 * min(apart)
