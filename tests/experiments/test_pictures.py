import numpy as np
import pytest
from PIL import Image

from experiments.__main__ import main
from experiments.pictures import LARGEST
from tests.helpers.image_files import pixels
from tests.helpers.runs import ROOT


def test_what_fits_is_copied_byte_for_byte(tmp_path):
    Image.fromarray(pixels(40, 30)).save(tmp_path / "a.png")
    assert main(["picture", str(tmp_path / "a.png"), str(tmp_path / "new" / "b.png")]) == 0
    assert (tmp_path / "new" / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_a_picture_loses_colours_before_it_loses_resolution(tmp_path):
    Image.fromarray(pixels(500, 500)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > LARGEST
    assert main(["picture", str(tmp_path / "a.png"), str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (500, 500)
        assert len(picture.convert("RGB").getcolors(10**6)) <= 256
    assert (tmp_path / "b.png").stat().st_size <= LARGEST


def test_noise_gets_smaller_until_it_fits(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)).save(tmp_path / "a.png")
    assert main(["picture", str(tmp_path / "a.png"), str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "b.png") as picture:
        assert 300 < picture.width < 900
        assert picture.width / picture.height == pytest.approx(4 / 3, abs=0.01)
    assert LARGEST / 2 < (tmp_path / "b.png").stat().st_size <= LARGEST


def test_a_film_keeps_its_frames_and_times(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 150, 300, 3), np.uint8)
    frames = [Image.fromarray(each) for each in noise]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    assert (tmp_path / "a.gif").stat().st_size > LARGEST
    assert main(["picture", str(tmp_path / "a.gif"), str(tmp_path / "b.gif")]) == 0
    with Image.open(tmp_path / "b.gif") as film:
        assert film.n_frames == 12
        assert film.info["duration"] == 80
        assert film.info["loop"] == 0
        assert film.width / film.height == pytest.approx(2, abs=0.02)
        assert film.width < 300
    assert LARGEST / 2 < (tmp_path / "b.gif").stat().st_size <= LARGEST


def test_what_cannot_be_copied_is_told(tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"x" * (LARGEST + 1))
    for source, target in (("a.png", "b.jpg"), ("a.jpg", "b.jpg"), ("gone.png", "b.png"), ("broken.png", "b.png")):
        assert main(["picture", str(tmp_path / source), str(tmp_path / target)]) == 2
        assert source in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]


def test_what_documents_show_is_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert len(sizes) > 10
    assert {name: size for name, size in sizes.items() if size > LARGEST} == {}
