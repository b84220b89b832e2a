from datamodules.detection.evidence import EvidenceStore


def lines(store):
    return [line["name"] for line in store.read()]


def test_lines_of_all_processes_are_read_by_the_next(tmp_path):
    one, other = (EvidenceStore(tmp_path, "a" * 64, tmp_path / "run") for _ in range(2))
    assert lines(one) == []
    one.add({"name": "x"})
    other.add({"name": "y"})
    one.add({"name": "z"})
    assert sorted(lines(EvidenceStore(tmp_path, "a" * 64, tmp_path / "run"))) == ["x", "y", "z"]
    assert lines(EvidenceStore(tmp_path, "b" * 64, tmp_path / "run")) == []
    one.close()
    one.add({"name": "again"})
    assert "again" in lines(other)


def test_a_line_that_a_kill_has_torn_is_passed_over(tmp_path):
    store = EvidenceStore(tmp_path, "a" * 64, tmp_path)
    store.add({"name": "x"})
    store.close()
    (path,) = store.path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"name": "torn')
    assert lines(store) == ["x"]


def test_a_folder_that_cannot_be_written_to_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path / "pictures")
    store = EvidenceStore(tmp_path / "pictures", "a" * 64, tmp_path / "run")
    store.add({"name": "x"})
    assert (tmp_path / "run" / "evidence").is_dir()
    assert not (tmp_path / "pictures").exists()
