import csv
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from callbacks.vit_analysis.report import draw as module
from callbacks.vit_analysis.report.arrays import read_arrays, write_arrays
from callbacks.vit_analysis.report.draw import CATALOGUE, DPI, describe_data, draw_report
from callbacks.vit_analysis.report.exhibits import DrawnPicture, Exhibit
from tests.callbacks.vit_analysis.report import synthetic
from visionscapes.errors import UserError

ODD = "MoCo S/16* <script>&"


class Links(HTMLParser):
    """Everything of a page that matters here."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.targets, self.ids, self.alts, self.tags, self.text = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "img":
            self.sources.append(attributes["src"])
            self.alts.append(attributes["alt"])
        if tag == "a":
            self.targets.append(attributes["href"])

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Draw few pixels, which saves half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DPI", 50)
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory, coarse):
    folder = tmp_path_factory.mktemp("run")
    small = {"depth": 3, "heads": 2, "grid": (4, 4), "examples": 2}
    models = [
        synthetic.model("FS", "FS", **small),
        synthetic.model(ODD, "MoCo", seed=1, **small),
        synthetic.model("MAE", "MAE", seed=2, **small | {"depth": 4}),
        synthetic.model("BEiT", "BEiT", seed=3, **small),
        synthetic.random_model(),
    ]
    models[2].arrays["similarity"]["index"] += 1
    write_arrays(folder, models)
    (folder / "cli_config.yaml").write_text("data: {class_path: datamodules.SubjectWorld}\n")
    return folder, draw_report(folder)


def test_every_figure_and_table_is_there(report):
    folder, written = report
    assert all(path.is_file() for path in written)
    assert len(set(written)) == len(written)
    pictures = {path.name for path in written if path.suffix == ".png"}
    numbers = [f"2_{n}" for n in range(2, 32)]
    assert not [n for n in numbers if not any(name.startswith(f"figure_{n}_") for name in pictures)]
    tables = {f"table_2_{n}.{kind}" for n in (1, 4, 5, 6) for kind in ("csv", "md")}
    assert {path.name for path in (folder / "results").iterdir()} == tables | {"offset_local_heads.csv"}
    assert {path.name for path in (folder / "pictures").iterdir()} == pictures


def test_the_page_shows_every_picture_and_has_no_broken_link(report):
    folder, written = report
    links = Links((folder / "index.html").read_text())
    assert {folder / unquote(source) for source in links.sources} == {p for p in written if p.suffix == ".png"}
    for target in links.sources + links.targets:
        if target.startswith("#"):
            assert target[1:] in links.ids
        else:
            assert not target.startswith(("/", "http", "file:"))
            assert (folder / unquote(target)).is_file()
    tables = {p for p in written if p.suffix in (".csv", ".md")}
    assert tables <= {folder / unquote(target) for target in links.targets}
    assert len(set(links.ids)) == len(links.ids)
    assert all(links.alts)
    assert "script" not in links.tags


def test_names_are_escaped(report):
    page = (report[0] / "index.html").read_text()
    assert "<script" not in page
    assert "MoCo S/16* &lt;script&gt;&amp;" in page
    assert ODD in "".join(Links(page).text)


def test_the_page_names_the_embedded_world_and_the_pairs_left_blank(report):
    text = "".join(Links((report[0] / "index.html").read_text()).text)
    assert text.count("Data: embedded world SubjectWorld.") >= 30
    assert "Left blank, because the two models were shown different images: FS and MAE;" in text
    assert "Not shown" not in text


def test_sections_come_in_the_thesis_order(report):
    ids = Links((report[0] / "index.html").read_text()).ids
    assert [one for one in ids if not one.startswith("figure")] == ["models", "how", "what", "why", "tables"]
    figures = [one.removeprefix("figure-") for one in ids if one.startswith("figure")]
    assert sorted(figures, key=lambda n: int(n[2:])) == [f"2.{n}" for n in range(2, 32)]


def test_a_folder_can_be_moved(report, tmp_path):
    moved = report[0].rename(tmp_path / "elsewhere with space")
    links = Links((moved / "index.html").read_text())
    assert all((moved / unquote(source)).is_file() for source in links.sources)
    moved.rename(report[0])


def test_what_is_missing_or_damaged_does_not_prevent_the_rest(tmp_path):
    few = ("attention", "similarity", "saliency", "clustering", "retrieval", "keypoints", "video", "probe")
    write_arrays(tmp_path, [synthetic.model("FS", "FS", without=few), synthetic.model("MAE", "MAE", without=few)])
    (tmp_path / "arrays" / "MAE" / "knn.npz").write_bytes(b"no zip")
    stale = tmp_path / "pictures" / "figure_2_2_overview.png"
    stale.parent.mkdir()
    stale.touch()
    problems: list[str] = []
    with pytest.warns(UserWarning, match=r"knn\.npz is damaged"):
        written = draw_report(tmp_path, problems)
    names = {path.name for path in written}
    assert len(problems) == 1
    assert {"figure_2_9_knn.png", "figure_2_10_video.png", "table_2_1.csv", "index.html"} <= names
    assert not any(name.startswith("figure_2_2_") for name in names)
    assert not stale.exists()
    assert (tmp_path / "results" / "table_2_1.csv").read_text().splitlines()[2].startswith("MAE,–,")
    text = "".join(Links((tmp_path / "index.html").read_text()).text)
    assert "knn.npz is damaged" in text
    assert "Figure 2.2, Figure 2.3" in text.partition("Not shown")[2]


@pytest.mark.parametrize("name", ['MoCo "S/16", small', "a\nb", "ViT, plain"])
def test_tables_can_be_read_again_whatever_a_model_is_called(tmp_path, name):
    """A quotation mark once ended the name in offset_local_heads.csv."""
    few = ("similarity", "saliency", "clustering", "keypoints", "video")
    write_arrays(tmp_path, [synthetic.model(name, "MoCo", depth=2, without=few), synthetic.random_model()])
    draw_report(tmp_path)
    assert len(list((tmp_path / "results").glob("*.csv"))) == 5
    for path in (tmp_path / "results").glob("*.csv"):
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        assert rows
        assert {len(row) for row in rows} == {len(header)}
        assert name in [header[1], rows[0][0]]


def test_one_model_alone(tmp_path):
    write_arrays(tmp_path, [synthetic.model(depth=2, heads=1, grid=(2, 2), examples=1)])
    names = {path.name for path in draw_report(tmp_path)}
    assert "figure_2_20_main.png" in names
    assert not any(name.startswith(("figure_2_6_", "figure_2_12_", "figure_2_21_")) for name in names)
    assert "Data:" not in (tmp_path / "index.html").read_text()


def test_nothing_measured_at_all_still_gives_a_page(tmp_path):
    write_arrays(tmp_path, [synthetic.AnalysedModel("FS", "FS", 2, 2, 8, 64, (8, 8))])
    assert [path.name for path in draw_report(tmp_path)] == ["index.html"]


def test_a_figure_that_fails_is_told_and_the_next_is_drawn(tmp_path, monkeypatch):
    def fail(models):
        from callbacks.results.figures import new_figure

        yield DrawnPicture("first", "First", new_figure(1, 1))
        raise RuntimeError("<boom>")

    later = CATALOGUE["why"][2]
    monkeypatch.setattr(module, "CATALOGUE", {"why": [Exhibit("2.9", "Title", "Look.", fail), later]})
    write_arrays(tmp_path, [synthetic.model(without=("attention", "similarity"))])
    with pytest.warns(UserWarning, match="boom"):
        names = [path.name for path in draw_report(tmp_path)]
    assert names[:3] == ["figure_2_9_first.png", "figure_2_28_top1.png", "figure_2_28_top5.png"]
    assert "RuntimeError: &lt;boom&gt;" in (tmp_path / "index.html").read_text()


def test_large_grids_keep_their_resolution(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DPI", DPI)
    noise = np.random.default_rng(0).uniform(size=(32, 16, 16, 16))
    arrays = {"attention": {"cls_map": noise}}
    write_arrays(tmp_path, [synthetic.AnalysedModel("H/14", "MAE", 32, 16, 14, 224, (16, 16), arrays)])
    path = next(path for path in draw_report(tmp_path) if path.name == "figure_2_17_h_14.png")
    with Image.open(path) as picture:
        assert picture.width >= 16 * 16 * 4  # four pixels a token, at a fifth of the resolution
    assert read_arrays(tmp_path)[0].depth == 32


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, ("", [])),
        ("[not: valid", ("", [])),
        ("model: 3", ("", [])),
        ("data: null", ("", [])),
        ("data: {class_path: datamodules.ImageNet50, init_args: {views: {class_path: datamodules.RandomViews}}}",
         ("Data: ImageNet50.", [])),
        ("data: {class_path: datamodules.Collection, init_args: {parts: [{class_path: datamodules.COCO20k}, "
         "{class_path: datamodules.SubjectWorld}]}}",
         ("Data: COCO20k, embedded world SubjectWorld.", ["SubjectWorld"])),
    ],
)  # fmt: skip
def test_data_are_named_after_the_saved_configuration(tmp_path, config, expected):
    if config is not None:
        (tmp_path / "cli_config.yaml").write_text(config)
    assert describe_data(tmp_path) == expected


def test_a_folder_without_arrays(tmp_path):
    with pytest.raises(UserError, match="give the folder of a finished run"):
        draw_report(tmp_path)
