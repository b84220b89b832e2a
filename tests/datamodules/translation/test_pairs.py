import torch

from datamodules.common.label_maps import flip_labels
from datamodules.translation.pairs import Mirrored


def sample(number, **more):
    generator = torch.Generator().manual_seed(number)
    image = torch.rand(3, 4, 4, generator=generator)
    return {"image": image, "name": str(number), "labels": torch.full((4, 4), number, dtype=torch.uint8)} | more


def test_both_sides_of_a_pair_are_mirrored_together():
    halves = torch.zeros(1, 4, 4)
    halves[..., :2] = 1
    labels = torch.tensor([[4, 4, 0, 5]], dtype=torch.uint8)
    pair = sample(0, image=halves.expand(3, 4, 4), condition=halves, labels=labels)
    mirrored = Mirrored([pair], [(4, 5)])
    torch.manual_seed(0)
    turned = 0
    for _ in range(200):
        seen = mirrored[0]
        flipped = bool((seen["image"][..., 0] == 0).all())
        turned += flipped
        assert (seen["image"][:1] == seen["condition"]).all()
        assert torch.equal(seen["image"], pair["image"].flip(-1) if flipped else pair["image"])
        assert torch.equal(seen["labels"], flip_labels(labels, [(4, 5)]) if flipped else labels)
        assert seen["name"] == "0"
    assert 70 <= turned <= 130
    assert pair["labels"].tolist() == [[4, 4, 0, 5]]
