import torch.distributed
import torch.multiprocessing

from callbacks.source_discovery.observed import everywhere, label_name


def gather(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = everywhere({f"image {rank}": rank, "seen by both": 7})
    (folder / f"{rank}.txt").write_text(repr(sorted(found.items())))
    torch.distributed.destroy_process_group()


def test_entries_of_all_ranks_are_everywhere(tmp_path):
    torch.multiprocessing.spawn(gather, (tmp_path,), nprocs=2)
    assert (tmp_path / "0.txt").read_text() == (tmp_path / "1.txt").read_text()
    assert (tmp_path / "0.txt").read_text() == "[('image 0', 0), ('image 1', 1), ('seen by both', 7)]"


def test_one_process_has_everything():
    assert everywhere({"a": 1}) == {"a": 1}


def test_names_of_labels():
    assert [label_name(label, ["one"]) for label in (-1, 0, 1)] == ["unclustered", "one", "cluster 1"]
