import torch

from callbacks.vit_analysis.pending_copies import PendingCopies


def test_tensors_of_all_types_and_shapes_come_back_as_they_were():
    pending = PendingCopies()
    given = [
        ("a", torch.rand(3, 2)),
        ("b", torch.tensor([True, False, True])),
        ("c", torch.arange(5)),
        ("a", torch.rand(2, 3).T),
        ("d", torch.rand(3).half()),
        ("e", torch.tensor(7, dtype=torch.uint8)),
        ("f", torch.empty(0, 4)),
        ("g", torch.tensor(3).expand(1)),
        ("g", torch.tensor([5, 6]).expand(3, 2)),
    ]
    for name, tensor in given:
        pending.add(name, tensor)
    assert "a" in pending
    assert "h" not in pending
    taken = pending.take()
    for name in "abcdefg":
        ours, theirs = ([tensor for other, tensor in each if other == name] for each in (taken, given))
        assert [tensor.dtype for tensor in ours] == [tensor.dtype for tensor in theirs]
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))
    assert pending.take() == []
    assert "a" not in pending


def test_it_is_due_when_there_is_enough():
    pending = PendingCopies(most=16)
    pending.add("a", torch.zeros(3))
    assert not pending.due
    pending.add("a", torch.zeros(1))
    assert pending.due
    pending.take()
    assert not pending.due


def test_what_was_taken_holds_no_more_than_itself():
    pending = PendingCopies()
    pending.add("large", torch.zeros(1000))
    pending.add("small", torch.zeros(1))
    small = dict(pending.take())["small"]
    assert small.untyped_storage().nbytes() == 4
