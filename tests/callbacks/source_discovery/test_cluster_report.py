import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from callbacks.source_discovery.cluster_page import SIDE, Cluster, cluster_figure
from callbacks.source_discovery.cluster_report import ClusterReport, clusters_of
from tests.callbacks.source_discovery.cases import Images, labels_of, round_of, trainer_of, usual
from visionscapes.errors import UserError

SAFE = "&lt;script&gt;&amp;"


def reported(folder, ended=None, images=None, rank=0, **settings):
    images = Images() if images is None else images
    callback = ClusterReport(**settings)
    callback.on_round_end(trainer_of(folder, images, rank), None, usual() if ended is None else ended)
    return images


def page_of(folder):
    return (folder / "clusters" / "index.html").read_text(encoding="utf-8")


def assignments(folder):
    with (folder / "assignments.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_assignments_of_all_images(tmp_path):
    ended = usual()
    images = reported(tmp_path, ended)
    rows = assignments(tmp_path)
    assert list(rows[0]) == ["image", "round", "label", "name", "distance", "margin", "truth"]
    assert [row["image"] for row in rows] == sorted(images.discovery_names)
    by_name = {row["image"]: row for row in rows}
    names = {0: "one", 1: "two", 2: "cluster 2", 3: "cluster 3", -1: "unclustered"}
    for index, label in enumerate(ended.labels.tolist()):
        row = by_name[images.discovery_names[index]]
        assert (row["round"], row["label"], row["name"]) == ("1", str(label), names[label])
        assert row["truth"] == images.sources[images.truth[index]]
        assert float(row["distance"]) == pytest.approx(ended.distances[index], rel=1e-5)
        assert float(row["margin"]) == pytest.approx(ended.margins[index], rel=1e-5)


def test_the_next_round_replaces_the_table(tmp_path):
    reported(tmp_path)
    reported(tmp_path, usual(number=2))
    assert {row["round"] for row in assignments(tmp_path)} == {"2"}
    assert "round 2" in page_of(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"assignments.csv", "clusters"}


def test_table_without_truth_and_with_images_to_come(tmp_path):
    reported(tmp_path, usual(30), Images(late=10, with_truth=False))
    rows = assignments(tmp_path)
    assert len(rows) == 30
    assert {row["truth"] for row in rows} == {""}


class Checked(HTMLParser):
    """Collects the pictures, and fails on tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.headings, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.sources.append(dict(attrs)["src"])
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] == "h3":
            self.headings.append(data)


def test_page_shows_the_clusters(tmp_path):
    labels = labels_of()
    labels[:12] = 2
    images = reported(tmp_path, round_of(("refine", labels)), pictures=3)
    checked = Checked(page_of(tmp_path))
    assert checked.headings == ["cluster 2", "one", "two", "cluster 3"]  # by size
    assert "17 images · 47.1 % a new" in checked.text
    assert "known source · 5 images · 100.0 % one" in checked.text
    assert "5 images · 100.0 % b <new>" in checked.text  # a name is no markup
    assert "8 images" in checked.text.split("In no cluster")[1]
    assert len(checked.sources) == 1 + 5 * 3
    inside = [source for source in checked.sources if source != "purity.png"]
    assert all(source.startswith("data:image/jpeg;base64,") for source in inside)
    assert "http" not in page_of(tmp_path)
    assert len(set(images.asked)) == 15
    groups = [set(labels[images.asked[start : start + 3]].tolist()) for start in range(0, 15, 3)]
    assert groups == [{2}, {0}, {1}, {3}, {-1}]
    assert (tmp_path / "clusters" / "purity.png").is_file()


def test_names_of_sources_are_no_markup(tmp_path):
    images, name = Images(), "<script>&"
    images.sources = [name if source == "one" else source for source in images.sources]
    images.classes = [name if source == "one" else source for source in images.classes]
    reported(tmp_path, images=images)
    assert "<script" not in page_of(tmp_path)
    assert f"<h3>{SAFE}</h3>" in page_of(tmp_path)
    assert f"100.0 % {SAFE}</p>" in page_of(tmp_path)
    reported(tmp_path, round_of(("refine", np.where(labels_of() == 0, -1, labels_of()))), images)
    assert f"The majority of no cluster: {SAFE}" in page_of(tmp_path)


def test_what_the_page_says_of_the_round(tmp_path):
    labels = np.where(labels_of() == 3, 2, labels_of())
    reported(tmp_path, round_of(("refine", labels)))
    text = Checked(page_of(tmp_path)).text
    assert re.search(r"images40clustered80.0 %clusters3purity of the clustered75.0 %sources discovered3 of 4", text)
    assert "sources discovered3 of 4unknown sources, in clusters of their own1 of 2" in text
    assert "The majority of no cluster: b <new>." in text
    assert "arrived" not in text


def test_arrivals_are_noted(tmp_path):
    reported(tmp_path, usual(number=3), Images(late=10))
    assert "Images arrived between the rounds: 10 in round 2." in page_of(tmp_path)


def test_pictures_are_drawn_at_random_with_a_seed(tmp_path):
    asked = [reported(tmp_path, pictures=2, seed=seed).asked for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]


def test_clusters_that_are_left_out_are_counted(tmp_path):
    labels = np.arange(40) % 9
    reported(tmp_path, round_of(("refine", labels)), clusters=4)
    checked = Checked(page_of(tmp_path))
    assert len(checked.headings) == 4
    assert "5 smaller clusters with 20 images are not shown." in checked.text
    assert "In no cluster" not in checked.text


def test_many_pictures_are_as_large_as_few(tmp_path):
    labels = np.arange(400) % 40
    reported(tmp_path, round_of(("refine", labels)), Images(count=400, image_size=100))
    page = page_of(tmp_path)
    assert len(Checked(page).sources) == 1 + 320
    assert set(re.findall(r'width="(\d+)"', page)) == {str(SIDE)}


def test_without_truth(tmp_path):
    reported(tmp_path, images=Images(with_truth=False))
    text = Checked(page_of(tmp_path)).text
    assert "purity" not in text.lower()
    assert "discovered3" not in text
    assert "known source · 8 images" in text


def test_without_clusters(tmp_path):
    reported(tmp_path, round_of(("attribution", np.full(40, -1))))
    checked = Checked(page_of(tmp_path))
    assert checked.headings == []
    assert "40 images" in checked.text
    assert len(checked.sources) == 8
    assert not (tmp_path / "clusters" / "purity.png").exists()


def test_clusters_by_size():
    labels = np.array([3, 3, 3, 0, 0, 5, 5, -1])
    images = Images(count=8)
    images.truth = np.array([2, 2, 0, 0, 0, 3, 1, 1])
    assert clusters_of(round_of(("refine", labels)), images) == [
        Cluster(3, "cluster 3", False, 3, "a new", 2 / 3),
        Cluster(0, "one", True, 2, "one", 1.0),
        Cluster(5, "cluster 5", False, 2, "two", 0.5),
    ]


def test_figure_has_two_axes_where_purity_is_known():
    clusters = [Cluster(0, "one", True, 5, "one", 0.5), Cluster(4, "cluster 4", False, 9, "a", 1.0)]
    sizes, purity = cluster_figure(clusters).axes
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in sizes.patches}
    assert heights == {1: 9, 2: 5}
    assert purity.lines[0].get_ydata().tolist() == [1.0, 0.5]
    assert len(cluster_figure([Cluster(0, "one", True, 5)]).axes) == 1


def test_the_first_rank_writes(tmp_path, capsys):
    reported(tmp_path / "run", rank=1)
    assert not (tmp_path / "run").exists()
    ClusterReport().on_train_end(trainer_of(tmp_path), None)
    assert not capsys.readouterr().out
    reported(tmp_path)
    ClusterReport().on_train_end(trainer_of(tmp_path), None)
    assert "index.html" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"clusters": 0}, {"pictures": 0}])
def test_settings(wrong):
    with pytest.raises(UserError, match="is 0; it has to be at least 1"):
        ClusterReport(**wrong)
