import torch

from callbacks.generation.pictures import label_colours, shown_condition, to_bytes


def test_labels_have_colours_far_apart():
    colours = label_colours()
    assert colours.shape == (256, 3)
    first = colours[:22].float()
    distances = torch.cdist(first, first) + 1e3 * torch.eye(22)
    assert float(distances.min()) > 40
    assert colours[0].tolist() == [0, 0, 0]


def test_conditions():
    labels = torch.tensor([[[0, 1], [18, 254]]], dtype=torch.uint8)
    picture = shown_condition({"labels": labels})
    assert picture.shape == (1, 3, 2, 2)
    assert to_bytes(picture[0, :, 1, 0]).tolist() == label_colours()[18].tolist()
    assert to_bytes(picture[0, :, 1, 1]).tolist() == label_colours()[254].tolist()
    edges = torch.rand(2, 1, 4, 4)
    assert torch.equal(shown_condition({"condition": edges}), edges.expand(-1, 3, -1, -1))
    edges = torch.rand(2, 3, 4, 4)
    assert torch.equal(shown_condition({"condition": edges}), edges)


def test_bytes_are_rounded_and_clamped():
    assert to_bytes(torch.tensor([-1.0, 0.4999 / 255, 0.5001 / 255, 1.0, 2.0])).tolist() == [0, 0, 1, 255, 255]


def test_pixels_without_a_label_have_a_checkerboard():
    labels = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    labels[:, :, 16:] = 1
    picture = shown_condition({"labels": labels})[0]
    unknown, known = picture[:, :, :16], picture[:, :, 16:]
    assert (unknown == unknown[:1]).all(), "grey"
    assert torch.allclose(unknown[0, :4, :4].unique(), torch.tensor([0.4, 0.65]))
    assert torch.equal(unknown[0, 0, 2:], unknown[0, 2, :-2]), "of fields of two pixels"
    assert torch.equal(to_bytes(known[:, 5, 3]), label_colours()[1])
