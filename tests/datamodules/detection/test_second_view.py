import numpy as np
import pytest
import torch

from datamodules.detection.second_view import TEST_AREA, TRIES, SecondView, blend, erase, uniform
from visionscapes.errors import UserError

NOTHING = {"contrast": None, "brightness": None, "saturation": None, "lighting": None, "erase_area": None}
AREA, ASPECT = (0.4, 0.7), (0.3, 3.3)


def view(**options):
    return SecondView(**(NOTHING | options))


def picture(height=24, width=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def erased(box, area=AREA, aspect=ASPECT, seed=0, size=(100, 200)):
    """Erase in a white picture; return whether, and the rows and columns of what is black."""
    image = torch.ones(3, *size)
    done = erase(image, torch.tensor(box, dtype=torch.float32), area, aspect, seeded(seed))
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])
    return done, *torch.where(image[0] == 0)


# -------------------------------------------------------------------------------------------- colours
# Plain versions in float64, of Detectron2's definitions; factors are drawn as the view draws them.


def contrasted(image, generator, bounds):
    factor = uniform(bounds, generator)
    return np.clip((1 - factor) * image.mean() + factor * image, 0, 255)


def brightened(image, generator, bounds):
    return np.clip(uniform(bounds, generator) * image, 0, 255)


def saturated(image, generator, bounds):
    factor = uniform(bounds, generator)
    grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    return np.stack([np.clip((1 - factor) * grey + factor * channel, 0, 255) for channel in image])


def lit(image, generator, scale):
    eigenvalues = np.array([0.2175, 0.0188, 0.0045])
    eigenvectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    weights = torch.randn(3, generator=generator).double().numpy() * scale
    shift = eigenvectors.dot(weights * eigenvalues)
    return np.stack([np.clip(channel + shift[c], 0, 255) for c, channel in enumerate(image)])


PLAIN = {
    "contrast": (contrasted, (0.5, 1.5)),
    "brightness": (brightened, (0.5, 1.5)),
    "saturation": (saturated, (0.5, 1.5)),
    "lighting": (lit, 100.0),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("seed", range(1, 6))  # the factor of seed 0 is 0.996
def test_each_colour_change_alone_is_the_plain_one(name, seed):
    plain, strength = PLAIN[name]
    image = picture(seed=seed)
    found = view(**{name: strength})(image, torch.zeros(0, 4), seeded(seed))
    expected = plain(image.double().numpy(), seeded(seed), strength)
    assert found.dtype == torch.uint8
    assert np.abs(found.numpy() - expected).max() <= 0.501
    assert np.abs(found.numpy() - image.numpy().astype(float)).max() > 3


@pytest.mark.parametrize("seed", range(5))
def test_the_changes_come_one_after_the_other(seed):
    image = picture(seed=seed)
    strengths = {name: strength for name, (_, strength) in PLAIN.items()}
    found = view(**strengths)(image, torch.zeros(0, 4), seeded(seed))
    expected, generator = image.double().numpy(), seeded(seed)
    for name in ("contrast", "brightness", "saturation", "lighting"):
        expected = PLAIN[name][0](expected, generator, PLAIN[name][1])
    assert np.abs(found.numpy() - expected).max() <= 0.51


def test_factors_of_the_ends_by_hand():
    image = torch.tensor([200, 100, 60], dtype=torch.uint8).view(3, 1, 1)
    boxes = torch.zeros(0, 4)
    assert view(contrast=[0, 0])(image, boxes).flatten().tolist() == [120, 120, 120]
    assert view(contrast=[2, 2])(image, boxes).flatten().tolist() == [255, 80, 0]
    assert view(brightness=[1.5, 1.5])(image, boxes).flatten().tolist() == [255, 150, 90]
    assert view(brightness=[0, 0])(image, boxes).flatten().tolist() == [0, 0, 0]
    assert view(saturation=[0, 0])(image, boxes).flatten().tolist() == [125, 125, 125]  # 0.299, 0.587, 0.114


def test_lighting_moves_by_less_than_a_grey_level_as_documented():
    changes = [view(lighting=1.2).recoloured(torch.full((3, 1, 1), 100.0), seeded(k)) - 100 for k in range(300)]
    assert 0.1 < torch.stack(changes).std() < 0.3


def test_factors_fill_their_range():
    factors = [uniform((0.5, 1.5), seeded(k)) for k in range(400)]
    assert 0.5 <= min(factors) < 0.51
    assert 1.49 < max(factors) <= 1.5
    assert np.mean(factors) == pytest.approx(1, abs=0.05)
    assert uniform((0.7, 0.7)) == pytest.approx(0.7)


def test_blend_is_exact_at_its_ends():
    image = picture().float()
    assert torch.equal(blend(image.mean(), image, 1.0), image)
    assert torch.equal(blend(torch.zeros(()), image, 0.0), torch.zeros_like(image))


# ----------------------------------------------------------------------------------------------- view


def test_without_any_change_the_view_is_the_picture():
    image, boxes = picture(), torch.tensor([[2.0, 2, 20, 20]])
    assert torch.equal(view()(image, boxes), image)
    assert torch.equal(view().for_test(image, seeded()), image)


@pytest.mark.parametrize("options", [{}, NOTHING, {"at_test": "clean"}])
def test_the_picture_itself_never_changes(options):
    image, boxes = picture(), torch.tensor([[2.0, 2, 20, 20]])
    before = image.clone(), boxes.clone()
    changing = SecondView(**options)
    changing(image, boxes, seeded())
    changing.for_test(image, seeded())
    assert torch.equal(image, before[0])
    assert torch.equal(boxes, before[1])


def test_all_changes_together_give_another_picture_of_the_same_shape():
    image, boxes = picture(), torch.tensor([[2.0, 2, 20, 20]])
    found = SecondView()(image, boxes, seeded())
    assert (found.shape, found.dtype) == (image.shape, torch.uint8)
    assert not torch.equal(found, image)
    assert (found[:, 2:20, 2:20] == 0).all(0).sum() >= 0.35 * 18 * 18


def test_the_view_is_a_function_of_its_generator():
    image, boxes, both = picture(), torch.tensor([[2.0, 2, 20, 20]]), SecondView()
    state = torch.get_rng_state()
    assert torch.equal(both(image, boxes, seeded(1)), both(image, boxes, seeded(1)))
    assert torch.equal(both.for_test(image, seeded(1)), both.for_test(image, seeded(1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(both(image, boxes, seeded(1)), both(image, boxes, seeded(2)))
    torch.manual_seed(4)
    first = both(image, boxes)
    torch.manual_seed(4)
    assert torch.equal(both(image, boxes), first)


# ---------------------------------------------------------------------------------------------- erase


def test_without_boxes_nothing_is_erased():
    image = picture()
    assert torch.equal(view(erase_area=[0.4, 0.7])(image, torch.zeros(0, 4)), image)


def test_one_box_is_erased_and_each_has_its_turn():
    image = torch.full((3, 50, 120), 9, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0, 30, 40], [35, 10, 75, 50], [80, 0, 120, 45]])
    counts = [0, 0, 0]
    for seed in range(90):
        black = view(erase_area=[0.4, 0.7])(image, boxes, seeded(seed))[0] == 0
        inside = [bool(black[int(y1) : int(y2), int(x1) : int(x2)].any()) for x1, y1, x2, y2 in boxes]
        assert sum(inside) == 1
        counts[inside.index(True)] += 1
    assert min(counts) > 15


@pytest.mark.parametrize("box", [(10, 20, 90, 80), (80, 0, 200, 100), (150, 40, 200, 100), (3, 5, 43, 95)])
@pytest.mark.parametrize("seed", range(20))
def test_the_erased_rectangle_has_its_share_and_aspect_and_lies_in_the_box(box, seed):
    done, rows, columns = erased(box, seed=seed)
    assert done
    x1, y1, x2, y2 = box
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    height, width = int(bottom - top), int(right - left)
    assert height * width == len(rows)  # one full rectangle
    assert x1 <= left < right <= x2
    assert y1 <= top < bottom <= y2
    # Each side is rounded by at most half a pixel.
    total = (x2 - x1) * (y2 - y1)
    assert (height + 0.5) * (width + 0.5) >= 0.4 * total
    assert (height - 0.5) * (width - 0.5) <= 0.7 * total
    assert (height + 0.5) / (width - 0.5) >= 0.3
    assert (height - 0.5) / (width + 0.5) <= 3.3


def test_shares_and_places_fill_their_range():
    found = [erased((10, 10, 70, 90), seed=seed) for seed in range(200)]
    shares = np.array([len(rows) / 4800 for _, rows, _ in found])
    assert 0.38 < shares.min() < 0.42
    assert 0.66 < shares.max() < 0.72
    for first, last, lines in ((10, 89, [rows for _, rows, _ in found]), (10, 69, [columns for *_, columns in found])):
        starts, ends = [int(each.min()) for each in lines], [int(each.max()) for each in lines]
        assert min(starts) == first
        assert max(ends) == last
        gaps = np.array([[start - first, last - end] for start, end in zip(starts, ends, strict=True)])
        assert gaps.mean(0) == pytest.approx([gaps.mean()] * 2, rel=0.2)  # as often near one end as near the other


def test_the_aspect_is_height_over_width():
    for seed in range(10):
        _, rows, columns = erased((0, 0, 100, 100), aspect=(2, 2), seed=seed)
        assert len(rows.unique()) / len(columns.unique()) == pytest.approx(2, rel=0.03)


def test_where_nothing_fits_the_picture_stays_as_it_is():
    for seed in range(20):
        done, rows, _ = erased((5, 5, 25, 25), area=(0.9, 0.9), aspect=(3, 3), seed=seed)
        assert not done
        assert not len(rows)


def test_ten_rectangles_are_tried(monkeypatch):
    drawn = []

    def counted(bounds, generator=None):
        drawn.append(bounds)
        return bounds[1]

    monkeypatch.setattr("datamodules.detection.second_view.uniform", counted)
    assert not erase(torch.ones(3, 50, 50), torch.tensor([0.0, 0, 20, 20]), (0.9, 0.9), (3, 3))
    assert len(drawn) == 2 * TRIES == 20


def test_a_box_of_one_pixel_is_erased_whole():
    for seed in range(20):
        done, rows, columns = erased((7, 9, 8, 10), seed=seed)
        assert done
        assert (rows.tolist(), columns.tolist()) == ([9], [7])


@pytest.mark.parametrize("box", [(5, 5, 5, 20), (5.6, 5, 6.4, 20), (9, 9, 4, 4), (5, 5, 5, 5)])
def test_boxes_without_a_whole_pixel_are_left_alone(box):
    assert not erased(box)[0]


@pytest.mark.parametrize(("width", "height"), [(9, 90), (90, 9), (1, 40), (100, 8)])
def test_boxes_eight_times_as_long_as_wide_are_never_erased(width, height):
    # 40 % of such a box, at most 3.3 times as long as wide, is wider than the box.
    assert not any(erased((2, 2, 2 + width, 2 + height), seed=seed)[0] for seed in range(100))


@pytest.mark.parametrize(
    ("width", "height", "rate"), [(25, 100, 0.99), (100, 100, 1.0), (100, 50, 0.91), (100, 33, 0.68), (100, 20, 0.24)]
)
def test_how_often_boxes_are_erased(width, height, rate):
    # An aspect that is drawn uniformly from 0.3 to 3.3 is mostly above 1, which does not fit into wide boxes.
    done = [erased((0, 0, width, height), seed=seed)[0] for seed in range(300)]
    assert np.mean(done) == pytest.approx(rate, abs=0.09)


def test_boxes_with_fractions_are_erased_within_their_nearest_pixels():
    for seed in range(30):
        done, rows, columns = erased((10.4, 20.6, 50.4, 61.3), seed=seed)
        assert done
        assert columns.min() >= 10
        assert columns.max() < 50
        assert rows.min() >= 21
        assert rows.max() < 61


@pytest.mark.parametrize("box", [(-20, 10, -4, 26), (10, -20, 26, -4), (-30, -30, -5, -5), (210, 10, 230, 30)])
def test_a_box_beside_the_picture_erases_nothing_in_it(box):
    for seed in range(10):
        assert not len(erased(box, seed=seed)[1])


def test_of_a_box_across_the_border_only_what_is_inside_can_go_black():
    for seed in range(20):
        _, rows, columns = erased((-10, 80, 30, 120), seed=seed)
        assert (rows >= 80).all()
        assert (columns < 30).all()


# ---------------------------------------------------------------------------------------------- tests


def test_at_test_one_to_five_percent_of_the_middle_half_are_erased():
    image = torch.full((3, 100, 160), 200, dtype=torch.uint8)
    shares = []
    for seed in range(60):
        black = view(erase_area=[0.4, 0.7]).for_test(image, seeded(seed))[0] == 0
        rows, columns = torch.where(black)
        assert 25 <= rows.min() <= rows.max() < 75
        assert 40 <= columns.min() <= columns.max() < 120
        shares.append(len(rows) / (50 * 80))
    assert TEST_AREA == (0.01, 0.05)
    assert 0.008 < min(shares) < 0.015
    assert 0.045 < max(shares) < 0.055


def test_at_test_colours_change_too():
    image = picture()
    found = view(brightness=[0.5, 0.5]).for_test(image, seeded())
    assert (found.float() - image.float() / 2).abs().max() <= 0.5


def test_clean_at_test_is_the_picture_but_training_is_not():
    clean = SecondView(at_test="clean")
    image = picture()
    assert torch.equal(clean.for_test(image, seeded()), image)
    assert not torch.equal(clean(image, torch.zeros(0, 4), seeded()), image)


def test_the_smallest_pictures_pass():
    for size in ((1, 1), (1, 9), (2, 2)):
        image = picture(*size)
        both = SecondView()
        assert both.for_test(image, seeded()).shape == image.shape
        assert both(image, torch.tensor([[0.0, 0, size[1], size[0]]]), seeded()).shape == image.shape


# ------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": [1.5, 0.5]}, "contrast is"),
        ({"brightness": [-0.5, 0.5]}, "brightness is"),
        ({"saturation": [1.0]}, "saturation is"),
        ({"saturation": [float("nan"), 1]}, "saturation is"),
        ({"contrast": [1, 2, 3]}, "contrast is"),
        ({"erase_area": [0.4, 1.2]}, "erase_area is .*between 0 and 1"),
        ({"erase_area": [0.7, 0.4]}, "erase_area is"),
        ({"erase_aspect": [0, 3.3]}, "erase_aspect is .*above 0"),
        ({"erase_aspect": [3.3, 0.3]}, "erase_aspect is"),
        ({"lighting": -1}, "lighting is -1"),
        ({"lighting": float("nan")}, "lighting is nan"),
    ],
)
def test_bad_ranges_are_named(options, message):
    with pytest.raises(UserError, match=message):
        SecondView(**options)
