from datamodules.detection.generated import GeneratedFolder, layout_of
from visionscapes.json_lines import as_line


def test_entries_are_of_pictures_that_are_there(tmp_path):
    folder = GeneratedFolder(tmp_path)
    assert list(folder.entries()) == []
    for name in ("a", "b/c"):
        folder.picture(name).parent.mkdir(parents=True, exist_ok=True)
        folder.picture(name).write_bytes(b"")
    folder.parts.mkdir()
    folder.manifest.write_bytes(as_line({"name": "a"}) + as_line({"name": "gone"}))
    folder.part(1).write_bytes(as_line({"name": "b/c"}) + b'{"name": "to')
    assert [entry["name"] for entry in folder.entries()] == ["a", "b/c"]
    assert folder.files_of_lines() == [folder.manifest, folder.part(1)]


def test_copies_of_a_picture_have_their_layout_in_common():
    assert [layout_of(name) for name in ("7-0", "7-12", "a-b/c-3")] == ["7", "7", "a-b/c"]
    assert layout_of("photograph") == "photograph"  # of another tool
