import pytest
import torch

from networks.segmenters import SmallSegmenter, TransformersSegmenter, fitted, in_our_order
from visionscapes.errors import UserError

CPU = torch.device("cpu")


def pair(place):
    """Stripes of three colours, brighter or darker from pair to pair, of which the last rows have no label."""
    labels = (torch.arange(16)[:, None] + torch.arange(16) + place) // 4 % 3
    colours = torch.eye(3)[labels].permute(2, 0, 1) * (0.4 + 0.1 * (place % 6))
    labels[13:] = 255
    return colours, labels.to(torch.uint8)


def test_it_learns_colours_and_leaves_the_random_numbers_of_the_run_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with torch.inference_mode():  # as in a test epoch
        network, again = (fitted(pair, 40, 3, steps=30, device=CPU) for _ in range(2))
        images, labels = (torch.stack([pair(place)[side] for place in range(50, 54)]) for side in (0, 1))
        predicted = network(images).argmax(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert (predicted == labels)[labels != 255].float().mean() > 0.97
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    other = fitted(pair, 40, 3, steps=1, device=CPU, seed=1)
    assert not torch.equal(other.last.weight, network.last.weight)
    assert not any(each.requires_grad for each in network.parameters())


@pytest.mark.parametrize("size", [(16, 16), (15, 33), (4, 5)])
def test_images_of_any_size(size):
    assert SmallSegmenter(7)(torch.rand(2, 3, *size)).shape == (2, 7, *size)


def test_classes_of_another_network_become_ours():
    logits = torch.tensor([1.0, 5.0, 3.0, 9.0])[None, :, None, None]
    assert in_our_order(logits, [2, 0, 0, -1]).flatten().tolist() == [5, float("-inf"), 1]


def segformer(folder, classes=5):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    sizes = {"hidden_sizes": [8, 16], "num_attention_heads": [1, 2], "depths": [1, 1], "sr_ratios": [4, 2]}
    blocks = {"num_encoder_blocks": 2, "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]}
    config = SegformerConfig(**sizes, **blocks, decoder_hidden_size=8, num_labels=classes)
    SegformerForSemanticSegmentation(config).eval().save_pretrained(folder / "parser")
    return folder / "parser"


def test_a_network_of_transformers(tmp_path):
    from transformers import SegformerForSemanticSegmentation

    folder = segformer(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    ours = TransformersSegmenter(str(folder))
    assert ours.title == "parser"
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        theirs = SegformerForSemanticSegmentation.from_pretrained(folder).eval()
        wanted = theirs((images - mean[:, None, None]) / std[:, None, None]).logits
        assert torch.allclose(ours(images), wanted, atol=1e-5)
        mapped = TransformersSegmenter(str(folder), labels=[1, -1, 0, 0, 1], title="faces")(images)
    assert torch.allclose(mapped[:, 0], wanted[:, [2, 3]].amax(1), atol=1e-5)
    assert torch.allclose(mapped[:, 1], wanted[:, [0, 4]].amax(1), atol=1e-5)


def test_networks_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"no segmentation network at '.*nowhere'.*config\.json"):
        TransformersSegmenter(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"labels has 2 values, and .* has 5 classes"):
        TransformersSegmenter(str(segformer(tmp_path)), labels=[0, 1])
    with pytest.raises(UserError, match="labels is"):
        TransformersSegmenter(str(tmp_path), labels=[255])
