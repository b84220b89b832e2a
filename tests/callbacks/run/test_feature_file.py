import os

import pytest
import torch

from callbacks.run.feature_file import Layout, make_room, read_rows, sweep, write_rows
from tests.helpers.processes import two_processes


def maps(count=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 2, 2, generator=generator).to(dtype), torch.arange(count * 3).view(count, 3)


def written(path, count=5):
    tensors = maps(count)
    layout = Layout(tensors)
    write_rows(path, layout.pack(tensors).split(2))
    return layout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_come_back_bit_for_bit_in_any_order(tmp_path, dtype):
    tensors = maps(dtype=dtype)
    layout, path = Layout(tensors), tmp_path / "a.features"
    write_rows(path, layout.pack(tensors).split(2))
    rows = read_rows(path, 5, layout.row)
    order = torch.tensor([4, 0, 0, 3])
    for back, tensor in zip(layout.unpack(rows[order]), tensors, strict=True):
        assert back.dtype == tensor.dtype
        assert torch.equal(back, tensor[order])


@pytest.mark.parametrize("side", [1, 3])
def test_tensors_keep_the_order_in_which_they_lie_in_memory(side):
    plain = torch.randn(4, 8, side, side)
    tensors = plain, plain.to(memory_format=torch.channels_last), torch.randn(4, 9, 8)[:, 1:].transpose(1, 2)
    gaps = torch.randn(4, 3, 8, 8)[..., ::2, ::2]
    back = Layout((*tensors, gaps)).unpack(Layout((*tensors, gaps)).pack((*tensors, gaps)))
    for tensor, other in zip((*tensors, gaps), back, strict=True):
        assert torch.equal(tensor, other)
    assert [tensor.stride()[1:] for tensor in tensors] == [other.stride()[1:] for other in back[:3]]
    assert back[3].is_contiguous()


def test_what_is_read_is_mapped_and_outlives_its_file(tmp_path):
    path = tmp_path / "a.features"
    layout = written(path)
    rows = read_rows(path, 5, layout.row)
    path.unlink()
    assert torch.equal(rows, layout.pack(maps()))
    rows.zero_()  # of this process alone
    written(path)
    assert torch.equal(read_rows(path, 5, layout.row), layout.pack(maps()))


def test_every_flipped_byte_and_every_wrong_length_is_noticed(tmp_path):
    path = tmp_path / "a.features"
    layout = written(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert read_rows(path, 5, layout.row) is None, place
    for content in (b"", whole[:-1], whole + b"x"):
        path.write_bytes(content)
        assert read_rows(path, 5, layout.row) is None
    assert read_rows(tmp_path / "nowhere.features", 5, layout.row) is None


def test_the_file_that_was_used_longest_ago_makes_room(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        written(tmp_path / f"{name}.features")
        os.utime(tmp_path / f"{name}.features", (1000 - age, 1000 - age))
    size = (tmp_path / "old.features").stat().st_size
    (tmp_path / "other.txt").write_text("stays")
    assert read_rows(tmp_path / "old.features", 5, Layout(maps()).row) is not None  # is now the newest
    make_room(tmp_path, wanted=size, limit=3 * size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.features", "old.features", "other.txt"]
    make_room(tmp_path, wanted=size, limit=size)
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]
    make_room(tmp_path / "nowhere", wanted=1, limit=1)


def test_what_a_killed_process_has_left_is_deleted_and_what_is_being_written_is_not(tmp_path):
    for name, age in ((".a.features.1.partial", 7200), (".b.features.2.partial", 0)):
        (tmp_path / name).write_bytes(b"half")
        now = (tmp_path / name).stat().st_mtime
        os.utime(tmp_path / name, (now - age, now - age))
    sweep(tmp_path)
    sweep(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == [".b.features.2.partial"]


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    def interrupted():
        yield torch.zeros(2, 8, dtype=torch.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(tmp_path / "a.features", interrupted())
    assert not list(tmp_path.iterdir())


def writes_and_reads(rank, folder):
    for turn in range(40):
        sweep(folder)
        make_room(folder, wanted=1, limit=10**6 if turn % 4 else 1)
        layout = written(folder / "a.features")
        rows = read_rows(folder / "a.features", 5, layout.row)
        assert rows is None or torch.equal(rows, layout.pack(maps()))  # the other one may just have deleted it


@pytest.mark.slow
def test_two_runs_that_write_the_same_file_read_it_whole_or_not_at_all(tmp_path):
    two_processes(writes_and_reads, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["a.features"])
