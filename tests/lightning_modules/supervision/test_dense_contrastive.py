import pytest
import torch

from datamodules.images.views import RandomViews, Views, crop_and_resize, random_boxes
from lightning_modules.supervision.dense_contrastive import DenseContrastive, features_at, shared_points
from tests.helpers.tiny_vit import MODEL, TINY


def coordinates(size):
    """Return an image (1, 2, size, size) whose value at a pixel's centre is its place xy in [0, 1]."""
    centres = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y])[None]


def test_features_at_finds_places_of_the_original_in_any_view():
    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(6, (0.3, 1.0), generator)
    views = crop_and_resize(coordinates(128).expand(6, -1, -1, -1), boxes, 32)
    inner = 0.1 + 0.8 * torch.rand(6, 20, 2, generator=generator)
    places = boxes[:, None, :2] + inner * (boxes[:, None, 2:] - boxes[:, None, :2])
    torch.testing.assert_close(features_at(views, boxes, places), places, atol=2e-3, rtol=0)


def test_features_at_hand_computed():
    features = torch.tensor([[0.0, 1], [2, 3]]).view(1, 1, 2, 2)
    box = torch.tensor([[0.5, 0.0, 1.0, 1.0]])
    places = torch.tensor([[[0.625, 0.25], [0.875, 0.25], [0.625, 0.75], [0.75, 0.5], [0.0, 0.0]]])
    # The four cells' centres in the right half of the picture, the middle, and a place that the view does not show.
    assert features_at(features, box, places)[0, :, 0].tolist() == pytest.approx([0, 1, 2, 1.5, 0])


def test_shared_points_lie_in_both_boxes():
    generator = torch.Generator().manual_seed(1)
    first, second = (random_boxes(200, (0.5, 1.0), generator) for _ in range(2))
    points = shared_points(first, second, 30)
    assert points.shape == (200, 30, 2)
    for box in (first, second):
        assert (points >= box[:, None, :2] - 1e-6).all()
        assert (points <= box[:, None, 2:] + 1e-6).all()
    assert (points.std(1) > 0).all()


def test_shared_points_of_boxes_apart_lie_between_them():
    first, second = torch.tensor([[0.0, 0, 0.4, 1]]), torch.tensor([[0.6, 0.0, 1, 1]])
    x = shared_points(first, second, 50)[..., 0]
    assert ((x >= 0.4) & (x <= 0.6)).all()


class ImageItself(torch.nn.Module):
    def forward(self, image):
        return None, image


def loss_of(module, batch):
    torch.manual_seed(0)  # of the points
    return module.training_step(batch, 0)


def test_the_loss_falls_on_a_fixed_batch():
    torch.manual_seed(0)
    module = DenseContrastive(MODEL, TINY, points=8)
    module.log = lambda *args, **kwargs: None
    views = RandomViews([32])(torch.rand(4, 3, 32, 32), torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    losses = []
    for _ in range(15):
        loss = loss_of(module, {"views": views})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(parameter.grad is not None for parameter in module.head.parameters())


def test_the_loss_is_least_where_both_views_agree():
    """Features that tell every place from every other do so; the same features of another image do not."""
    module = DenseContrastive(MODEL, TINY, points=8, temperature=0.02)
    module.log = lambda *args, **kwargs: None
    module.head, module.network = torch.nn.Identity(), ImageItself()
    image = torch.rand(4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([[0.0, 0, 1, 1]]).expand(2, 4, 4)
    same = loss_of(module, {"views": Views([image, image], whole)})
    shuffled = loss_of(module, {"views": Views([image, image.roll(1, 0)], whole)})
    assert same < 0.5 * shuffled
