from unicodedata import normalize

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.images.label_tables import in_order, read_label_table, table_in
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(["a.jpg", "b c.jpg", "sub/d.jpg", normalize("NFD", "é.jpg")]):
        save_photo(tmp_path / name, seed=seed)
    return tmp_path


def read(root, text, name="labels.csv", encoding="utf-8", **columns):
    file = root / name
    file.write_bytes(text.encode(encoding))
    return [
        (each.path.relative_to(root).as_posix(), each.label, each.split)
        for each in read_label_table(file, root, **columns)
    ]


EXPECTED = [("a.jpg", "cat", None), ("b c.jpg", "big, red dog", None), ("sub/d.jpg", "Hündin", None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "rows",
    [
        ["path,label", "a.jpg,cat", 'b c.jpg,"big, red dog"', "sub/d.jpg,Hündin"],
        ["path;label", "a.jpg;cat", "b c.jpg;big, red dog", "sub\\d.jpg;Hündin"],
        ["sep=;", "path;label", "a.jpg;cat", "b c.jpg;big, red dog", "sub/d.jpg;Hündin"],
        ["id\tLabel\tPATH", "1\tcat\ta.jpg", "2\tbig, red dog\tb c.jpg", "3\tHündin\tsub/d.jpg"],
        [' path , label ', ' a.jpg ,cat ', '', '"b c.jpg", "big, red dog"', ',', "sub/d.jpg,Hündin", ""],
        ["path|label", "a.jpg|cat", "b c.jpg|big, red dog", "sub/d.jpg|Hündin"],
    ],
)  # fmt: skip
def test_tables_are_read_as_programs_write_them(root, rows, end, encoding):
    assert read(root, end.join(rows), encoding=encoding) == EXPECTED


def test_columns_are_named_by_options_and_whole_paths_are_kept(root):
    text = f"{root / 'a.jpg'},1,x\nsub/d.jpg,2,y\n"
    found = read(root, f"file,number,kind\n{text}", path_column="File", label_column="kind")
    assert found == [("a.jpg", "x", None), ("sub/d.jpg", "y", None)]
    with pytest.raises(
        UserError, match=r'no column "path" and "label".*only "file", "number", "kind": name the columns'
    ):
        read(root, f"file,number,kind\n{text}")
    with pytest.raises(UserError, match=r"--data\.init_args\.split_column=<name>"):
        read(root, "path,label\na.jpg,x\n", split_column="fold")


def test_parts_are_read_where_they_are_named(root):
    found = read(root, "path,label,split\na.jpg,x,Train\nb c.jpg,x,valid\nsub/d.jpg,y,test\n")
    assert [split for _, _, split in found] == ["train", "val", "test"]
    found = read(root, "path,label,fold\na.jpg,x,Train\nb c.jpg,x,valid\n", split_column="fold")
    assert [split for _, _, split in found] == ["train", "val"]
    for part in ("", "hold-out"):
        with pytest.raises(UserError, match=r"line 3 of .*write train, val or test"):
            read(root, f"path,label,split\na.jpg,x,train\nb c.jpg,x,{part}\n")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "2"], ["10", "9", "2"]),
        (["10.0", "9.0", ""], ["10", "9"]),  # as a column of numbers with a gap is written
        (["03", "3", "-1"], ["3", "3"]),
        (["10", "nine", "-1"], ["10", "nine", "-1"]),
    ],
)
def test_whole_numbers_are_numbers_if_all_labels_are(root, labels, expected, caplog):
    paths = ["a.jpg", "b c.jpg", "sub/d.jpg"]
    lines = [f"{path},{label}" for path, label in zip(paths, labels, strict=True)]
    assert [label for _, label, _ in read(root, "\n".join(["path,label", *lines]))] == expected
    assert ("left out 1 of 3 rows: they have no label" in caplog.text) == (len(expected) < 3)


def test_the_order_of_classes_is_that_of_numbers_or_of_the_alphabet():
    assert in_order(["10", "9", "10", "2"]) == ["2", "9", "10"]
    assert in_order(["b10", "b9", "a", "a"]) == ["a", "b10", "b9"]


def test_missing_pictures_are_counted_and_all_missing_is_an_error(root, caplog):
    long = "x" * 300
    assert len(read(root, f"path,label\na.jpg,x\ngone.jpg,y\n{long}.jpg,y\nsub,y\n")) == 1
    assert "left out 3 of 4 rows: their pictures are missing, 3 files: gone.jpg, " in caplog.text
    with pytest.raises(DatasetNotFoundError, match=r"(?s)Missing: any of the 1 files: gone\.jpg.*Ways out"):
        read(root, "path,label\ngone.jpg,y\n")
    with pytest.raises(DatasetNotFoundError, match="a row with a label"):
        read(root, "path,label\n")


def test_names_with_accents_are_found_however_the_disk_writes_them(root):
    assert len(read(root, "path,label\n" + normalize("NFC", "é.jpg,é\n") + "a.jpg,x\n")) == 2


def test_a_picture_named_twice_counts_once_or_is_refused(root, caplog):
    assert len(read(root, "path,label\na.jpg,x\n./a.jpg,x\n")) == 1
    assert "left out 1 of 2 rows: they repeat others" in caplog.text
    with pytest.raises(UserError, match=r"names a.jpg in line 2 as x and in line 4 as y: remove one"):
        read(root, "path,label\na.jpg,x\nb c.jpg,x\na.jpg,y\n")
    with pytest.raises(UserError, match="as x of train and in line 3 as x of val"):
        read(root, "path,label,split\na.jpg,x,train\na.jpg,x,val\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"path,label\na.jpg,caf\xe9\n", "no text in UTF-8"),
        (b'path,label\na.jpg,"cat\n', "cannot be read as a table"),
        (b"a.jpg,cat\nb.jpg,dog\n", 'no column "path" and "label" in its first line, only "a.jpg", "cat"'),
        (b"path,label\n,cat\n", "line 2 of .* has no path"),
        (b"path,label\n../../etc/passwd,cat\n", "leads out of the folder"),
        (b"path,label\n..\\..\\etc\\passwd,cat\n", "leads out of the folder"),
    ],
)
def test_what_is_no_table_gets_one_line(root, content, message):
    (root / "labels.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_label_table(root / "labels.csv", root)


def test_the_table_of_a_folder_is_found_or_named(root):
    assert table_in(root, None) is None
    (root / "labels.tsv").write_text("")
    (root / "mine.txt").write_text("")
    assert table_in(root, None) == root / "labels.tsv"
    assert table_in(root, "mine.txt") == root / "mine.txt"
    (root / "labels.csv").write_text("")
    with pytest.raises(UserError, match=r"labels\.csv and labels\.tsv: say which one counts"):
        table_in(root, None)
    with pytest.raises(DatasetNotFoundError, match=r"gone\.csv"):
        table_in(root, "gone.csv")
