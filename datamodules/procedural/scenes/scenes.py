"""Scenes: textured objects of long-tailed classes on textured backgrounds, with exact ground truth.

Everything is a pure function of (seed, index). Objects are drawn by their signed distance in one pass over each part's
bounding box, so that a scene of 128 x 128 pixels costs about ten milliseconds.
"""

import colorsys
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.procedural.scenes.object_classes import CLASSES, ObjectClass, ObjectPart

Float = NDArray[np.floating]


@dataclass(frozen=True)
class SceneObject:
    """An instance: its class, how it looks and where it stands.

    Attributes:
        class_index: position in ``CLASSES``.
        centre: (x, y) as a fraction of the image side.
        scale: half the object's extent as a fraction of the image side.
        stretch: factor on the object's own x axis.
        turn: degrees, clockwise on screen.
        hues: one (P,) in [0, 1); P parts.
        contrast: of the textures, in [0, 1].
        frequency: of the textures, periods per unit of the object's frame.
        bends: (P,) degrees by which each part is turned out of its usual direction.
    """

    class_index: int
    centre: tuple[float, float]
    scale: float
    stretch: float
    turn: float
    hues: Float
    contrast: float
    frequency: float
    bends: Float

    @property
    def object_class(self) -> ObjectClass:
        """The class of this object."""
        return CLASSES[self.class_index]

    @property
    def keypoints(self) -> Float:
        """(K, 2) keypoints in the object's frame; each is carried along when the part that it sits on bends."""
        points = []
        for point, p in zip(self.object_class.keypoints.values(), _owners(self.class_index), strict=True):
            centre = np.array(self.object_class.parts[p].centre)
            points.append(centre + rotation(self.bends[p]) @ (point - centre))
        return np.array(points)

    def to_pixels(self, size: int) -> tuple[Float, Float]:
        """Return the (2, 2) matrix and the (2,) offset that map the object's frame to pixels of a ``size`` image."""
        turn = rotation(self.turn)
        matrix = turn @ np.diag([self.stretch, 1.0]) * self.scale * size
        return matrix, np.array(self.centre) * size


@dataclass(frozen=True)
class Scene:
    """A rendered scene with its ground truth; H = W = size, N objects.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        objects: N objects, painted in this order.
        instances: (H, W) uint8, 0 background, n the n-th object (1-based) where it is visible.
        parts: (H, W) uint8, 0 background, p the p-th part (1-based) of the object visible there.
    """

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    instances: NDArray[np.uint8]
    parts: NDArray[np.uint8]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) xyxy pixels, half-open, around what is visible; all zero for an object wholly hidden."""
        return visible_boxes(self.instances, len(self.objects))

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class indices."""
        return np.array([item.class_index for item in self.objects], np.int64)

    def keypoints(self, n: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the keypoints (K, 2) xy pixels of object ``n`` (0-based) and which (K,) are visible."""
        size = self.image.shape[0]
        matrix, offset = self.objects[n].to_pixels(size)
        points = self.objects[n].keypoints @ matrix.T + offset
        cells = np.floor(points).astype(int)
        inside = ((cells >= 0) & (cells < size)).all(1)
        clipped = cells.clip(0, size - 1)
        visible = inside & (self.instances[clipped[:, 1], clipped[:, 0]] == n + 1)
        return points.astype(np.float32), visible

    @property
    def caption(self) -> str:
        """What is in the picture, in words: "a fish and two cars"."""
        words = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight")
        counts = Counter(item.object_class.name for item in self.objects)
        names = [f"{words[n]} {name if n == 1 else _plural(name)}" for name, n in counts.items()]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def generator(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """Return the random numbers of one sample; streams keep scenes, pairs and videos apart."""
    return np.random.default_rng([seed, stream, index])


def sample_object(
    rng: np.random.Generator,
    class_index: int | None = None,
    scale: tuple[float, float] = (0.13, 0.3),
    tail: float = 1.0,
) -> SceneObject:
    """Draw an object.

    Args:
        rng: the sample's random numbers.
        class_index: its class; drawn with probability proportional to 1 / rank**tail if None (0 is uniform).
        scale: range of half the extent as a fraction of the image side.
        tail: exponent of the class frequencies.
    """
    if class_index is None:
        frequency = 1.0 / np.arange(1, len(CLASSES) + 1) ** tail
        class_index = int(rng.choice(len(CLASSES), p=frequency / frequency.sum()))
    parts = CLASSES[class_index].parts
    return SceneObject(
        class_index=class_index,
        centre=(float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))),
        scale=float(rng.uniform(*scale)),
        stretch=float(rng.uniform(0.8, 1.25)),
        turn=float(rng.uniform(-30, 30)),
        # One shift for the whole object and a smaller one for every part: instances of a class look alike, not equal.
        hues=(np.array([part.hue for part in parts]) + rng.normal(0, 0.05) + rng.normal(0, 0.02, len(parts))) % 1.0,
        contrast=float(rng.uniform(0.3, 0.8)),
        frequency=float(rng.uniform(1.6, 2.6)),
        bends=rng.normal(0, 6, len(parts)),
    )


def render_scene(seed: int, index: int, size: int = 128, most_objects: int = 4, tail: float = 1.0) -> Scene:
    """Render scene ``index``: one to ``most_objects`` objects of long-tailed classes.

    Args:
        seed: of the world.
        index: of the scene; any non-negative integer.
        size: side of the square image in pixels.
        most_objects: up to eight.
        tail: exponent of the class frequencies, 0 for uniform classes.
    """
    rng = generator(seed, index)
    objects = tuple(sample_object(rng, tail=tail) for _ in range(rng.integers(1, most_objects + 1)))
    return compose(background(rng, size), objects, rng)


def render_pair(seed: int, index: int, size: int = 128) -> tuple[Scene, Scene]:
    """Render two scenes whose last, unoccluded object is of the same class: a pair for keypoint correspondence."""
    rng = generator(seed, index, stream=1)
    class_index = int(rng.integers(len(CLASSES)))
    scenes = []
    for _ in range(2):
        clutter = sample_object(rng, scale=(0.1, 0.18), tail=0.0)
        subject = sample_object(rng, class_index, scale=(0.2, 0.36))
        subject = replace(subject, centre=(float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.35, 0.65))))
        scenes.append(compose(background(rng, size), (clutter, subject), rng))
    return scenes[0], scenes[1]


def render_video(
    seed: int, index: int, size: int = 128, frames: int = 12, objects: int = 2
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render objects that travel, turn and grow in front of a drifting background.

    Args:
        seed: of the world.
        index: of the video.
        size: side of the square frames in pixels.
        frames: T.
        objects: how many move.

    Returns:
        Frames (T, size, size, 3) uint8 RGB and masks (T, size, size) uint8, 0 background, n the n-th object.
    """
    rng = generator(seed, index, stream=2)
    movers = [sample_object(rng, scale=(0.16, 0.28), tail=0.0) for _ in range(objects)]
    # The first frame defines the objects to be tracked, so each starts in its own part of the picture.
    starts = rng.permuted(np.array([[0.3, 0.3], [0.7, 0.7], [0.7, 0.3], [0.3, 0.7]]), axis=0)[: len(movers)]
    starts = starts + rng.uniform(-0.06, 0.06, starts.shape)
    velocity, spin, growth = (
        rng.normal(0, 0.025, (len(movers), 2)),
        rng.normal(0, 4, len(movers)),
        rng.normal(0, 0.015, len(movers)),
    )
    scenery = background(rng, size + frames)
    drift = rng.integers(0, 2, 2)
    images, masks = [], []
    for t in range(frames):
        moved = tuple(
            replace(
                item,
                centre=_point(np.clip(starts[n] + t * velocity[n], 0.12, 0.88)),
                turn=item.turn + t * spin[n],
                scale=float(np.clip(item.scale * (1 + growth[n]) ** t, 0.12, 0.34)),
            )
            for n, item in enumerate(movers)
        )
        row, column = t * drift
        scene = compose(scenery[row : row + size, column : column + size], moved, rng)
        images.append(scene.image)
        masks.append(scene.instances)
    return np.stack(images), np.stack(masks)


def background(rng: np.random.Generator, size: int) -> Float:
    """Paint a background (size, size, 3) float in [0, 1]: two coloured noises meeting at a soft horizon."""
    halves = []
    for _ in range(2):
        base = _colour(rng.uniform(), rng.uniform(0.1, 0.45), rng.uniform(0.35, 0.8))
        coarse, fine = _noise(rng, size, int(rng.integers(3, 6))), _noise(rng, size, int(rng.integers(10, 28)))
        halves.append(base * (1 + 0.35 * coarse[..., None] + rng.uniform(0.1, 0.4) * fine[..., None]))
    horizon = rng.uniform(0.3, 0.8) + 0.1 * _noise(rng, size, 4)
    rows = (np.arange(size)[:, None] + 0.5) / size
    below = np.clip((rows - horizon) * size / 2 + 0.5, 0, 1)[..., None]
    return np.clip(halves[0] * (1 - below) + halves[1] * below, 0, 1)


def visible_boxes(instances: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """Return (count, 4) xyxy pixels, half-open, around what is visible of each of ``count`` objects, zero of none.

    Args:
        instances: of a `Scene`.
        count: N.
    """
    boxes = np.zeros((count, 4), np.float32)
    for n in range(count):
        rows, columns = np.nonzero(instances == n + 1)
        if len(rows):
            boxes[n] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return boxes


def painted(canvas: Float, objects: tuple[SceneObject, ...]) -> tuple[Float, NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint objects over a background (size, size, 3) float in [0, 1].

    Returns:
        The picture, and "instances" and "parts" of `Scene`.
    """
    size = canvas.shape[0]
    canvas = canvas.copy()
    instances, parts = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    for n, item in enumerate(objects, 1):
        for p, part in enumerate(item.object_class.parts):
            _paint(canvas, instances, parts, item, part, n, p)
    return canvas, instances, parts


def compose(canvas: Float, objects: tuple[SceneObject, ...], rng: np.random.Generator) -> Scene:
    """Paint objects over a background (size, size, 3) float in [0, 1], then light and sensor noise."""
    size = canvas.shape[0]
    canvas, instances, parts = painted(canvas, objects)
    light = 1 + 0.15 * (_gradient(size, rng.uniform(0, 2 * np.pi)))
    canvas = canvas * light[..., None] + rng.normal(0, 0.015, canvas.shape)
    image = (canvas.clip(0, 1) * 255).round().astype(np.uint8)
    return Scene(image, objects, instances, parts=parts)


def _paint(
    canvas: Float, instances: NDArray, parts: NDArray, item: SceneObject, part: ObjectPart, n: int, p: int
) -> None:
    """Paint one part in place and mark its pixels."""
    size = canvas.shape[0]
    matrix, offset = item.to_pixels(size)
    own = rotation(part.turn + item.bends[p])
    centre = matrix @ np.array(part.centre) + offset
    reach = np.abs(matrix @ own) @ np.array(part.radii) + 2
    low = np.clip(np.floor(centre - reach), 0, size).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, 0, size).astype(int)
    if (high <= low).any():
        return
    columns, rows = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    inverse = np.linalg.inv(matrix @ own)
    x = inverse[0, 0] * (columns - centre[0]) + inverse[0, 1] * (rows - centre[1])
    y = inverse[1, 0] * (columns - centre[0]) + inverse[1, 1] * (rows - centre[1])
    distance = _inside(part, x, y) * item.scale * size
    cover = np.clip(distance + 0.5, 0, 1)
    value = 0.5 + 0.4 * _texture(part, x, y, item.frequency) * item.contrast
    colour = _colour(item.hues[p], 0.75, 1.0) * value[..., None]
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    canvas[window] += cover[..., None] * (colour - canvas[window])
    hit = cover > 0.5
    instances[window][hit] = n
    parts[window][hit] = p + 1


@cache
def _owners(class_index: int) -> list[int]:
    """Return for every keypoint of a class the part on top of which it sits (or which it is closest to)."""
    parts, owners = CLASSES[class_index].parts, []
    for point in CLASSES[class_index].keypoints.values():
        depths = [float(_inside(part, *(rotation(-part.turn) @ np.subtract(point, part.centre)))) for part in parts]
        within = [p for p, depth in enumerate(depths) if depth > 0]
        owners.append(within[-1] if within else int(np.argmax(depths)))
    return owners


def _inside(part: ObjectPart, x: Float, y: Float) -> Float:
    """Approximate signed distance to the outline in the part's own frame, positive inside."""
    width, height = part.radii
    if part.shape == "ellipse":
        return (1 - np.hypot(x / width, y / height)) * min(width, height)
    if part.shape == "box":
        return np.minimum(width - np.abs(x), height - np.abs(y))
    slope = np.hypot(2 * height, width)
    side = (width * (y + height) - 2 * height * np.abs(x)) / slope
    return np.minimum(side, height - y)


def _texture(part: ObjectPart, x: Float, y: Float, frequency: float) -> Float:
    """Pattern in [-1, 1] in the part's own frame."""
    w = 2 * np.pi * frequency
    if part.texture == "stripes":
        return np.sign(np.sin(w * x))
    if part.texture == "checks":
        return np.sign(np.sin(w * x) * np.sin(w * y))
    if part.texture == "dots":
        return np.where(np.sin(w * x) * np.sin(w * y) > 0.4, 1.0, -0.4)
    if part.texture == "rings":
        return np.sign(np.sin(2 * w * np.hypot(x, y)))
    return np.zeros_like(x)


def _noise(rng: np.random.Generator, size: int, cells: int) -> Float:
    """Smooth noise (size, size) in about [-1, 1] with ``cells`` random values along a side."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def _gradient(size: int, direction: float) -> Float:
    """Linear ramp (size, size) from -1 to 1 along ``direction`` in radians."""
    ramp = (np.arange(size) + 0.5) / size * 2 - 1
    return (np.cos(direction) * ramp[None] + np.sin(direction) * ramp[:, None]) / np.sqrt(2)


def rotation(degrees: float) -> Float:
    """Rotation by ``degrees``, clockwise on screen where y points down."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _point(values: Float) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _colour(hue: float, saturation: float, value: float) -> Float:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _plural(name: str) -> str:
    return {"fish": "fish", "butterfly": "butterflies"}.get(name, f"{name}s")
