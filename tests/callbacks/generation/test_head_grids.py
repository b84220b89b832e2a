import torch

from callbacks.generation.head_grids import coloured, mixed_colours, picked
from callbacks.generation.pictures import label_colours


def test_layouts_are_shown_in_the_colours_of_labels():
    labels = torch.tensor([[[0, 1], [13, 18]]])
    shown = coloured(labels)
    assert shown.shape == (1, 3, 2, 2)
    assert shown[0, :, 1, 0].tolist() == label_colours()[13].tolist()
    sure = torch.nn.functional.one_hot(labels, 19).permute(0, 3, 1, 2).float()
    assert torch.equal(mixed_colours(sure), shown)
    half = torch.zeros(1, 19, 1, 1)
    half[0, [1, 2]] = 0.5
    assert mixed_colours(half).flatten().tolist() == (label_colours()[1:3].float().mean(0)).round().tolist()


def test_targets_of_a_third_are_of_different_people_and_from_its_middle():
    differences = [torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.55, 1.0]), torch.tensor([0.3, 0.6, 1.1])]
    for group, target in ((0, 0), (1, 1), (2, 2)):
        first, second = picked(differences, group, 2)
        assert first == (1, target)
        assert second in {(0, target), (2, target)}
    assert len(picked(differences[:1], 2, 2)) == 1
    assert picked([torch.zeros(1)], 0, 2) == []
