import pytest

from datamodules.detection.picture_names import other_names, plain_name


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a.jpg", "a.jpg"),
        ("cam1/a.jpg", "cam1/a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("./cam1//a.jpg", "cam1/a.jpg"),
        ("cam1/../a.jpg", "a.jpg"),
        ("cam1\\sub\\a.jpg", "cam1/sub/a.jpg"),
        ("C:\\Users\\Anna\\a.jpg", "Users/Anna/a.jpg"),
        ("c:/photos/a.jpg", "photos/a.jpg"),
        ("\\\\server\\share\\a.jpg", "server/share/a.jpg"),
        ("/home/anna/a.jpg", "/home/anna/a.jpg"),
        ("file:///home/anna/a%20b.jpg", "/home/anna/a b.jpg"),
        ("https://host.org/x/a%20b.jpg?size=1#top", "x/a b.jpg"),
        ("s3://bucket/x/a.jpg", "x/a.jpg"),
        ("/data/local-files/?d=cam1/a%20b.jpg", "cam1/a b.jpg"),
        ("/data/local-files/?d=/srv/cam1/a.jpg", "srv/cam1/a.jpg"),
        ("https://host/data/local-files?d=cam1%5Ca.jpg", "cam1/a.jpg"),
        ("../../label-studio/data/media/upload/1/a.jpg", "label-studio/data/media/upload/1/a.jpg"),
        ("..\\..\\etc\\passwd", "etc/passwd"),
        ("https://host/etc/passwd", "etc/passwd"),  # never a path of this machine
        ("a..b.jpg", "a..b.jpg"),
        ("100%.jpg", "100%.jpg"),
        ("what?.jpg", "what?.jpg"),
    ],
)
def test_names_are_paths_within_a_folder_or_of_this_machine(name, plain):
    assert plain_name(name) == plain


def test_ends_are_tried_from_the_longest_to_the_shortest():
    assert [name for name, _ in other_names("/home/anna/cam1/a.jpg")] == [
        "home/anna/cam1/a.jpg", "anna/cam1/a.jpg", "cam1/a.jpg", "a.jpg",
    ]  # fmt: skip
    assert list(other_names("a.jpg")) == []


def test_percent_signs_are_tried_as_they_are_first():
    assert [name for name, _ in other_names("cam1/a%20b.jpg")] == ["cam1/a b.jpg", "a%20b.jpg", "a b.jpg"]


@pytest.mark.parametrize(
    "name", ["/data/upload/1/1a2b3c4d-street_1.jpg", "images/fc468ddc__1a2b3c4d-street_1.jpg", "1a2b3c4d-street_1.jpg"]
)
def test_what_label_studio_puts_before_a_name_is_left_out_at_last(name):
    assert list(other_names(name))[-1] == ("street_1.jpg", "without what Label Studio puts before a name")


@pytest.mark.parametrize("name", ["1a2b3c4-a.jpg", "1a2b3c4d-", "1a2b3c4da.jpg", "x1a2b3c4d-a.jpg"])
def test_other_names_keep_their_beginnings(name):
    assert not any("Label Studio" in way for _, way in other_names(name))
