"""Tiny replicas of the data sets of paired translation, with the irregularities that their loaders have to stand."""

from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.common.label_maps import FACE_PARTS
from tests.helpers.replicas import write_image, write_text

Box = tuple[int, int, int, int]

MASK_SIZE = 16  # of the masks; images have twice as many pixels, as in the data set
# Face -> (file in CelebA, part of CelebA). Both sides of both boundaries, and folders 0 and 1 of the masks.
FACES = {
    7: ("162770.jpg", 0),
    10: ("000001.jpg", 0),
    1999: ("162771.jpg", 1),
    2000: ("182637.jpg", 1),
    2001: ("182638.jpg", 2),
    9: ("202599.jpg", 2),
}
# Boxes xyxy of the parts; those that are not named have no file.
COMMON: dict[str, Box] = {"skin": (2, 2, 14, 14), "hair": (1, 1, 15, 5), "nose": (7, 7, 9, 10)}
FACE_BOXES: dict[int, dict[str, Box]] = {
    # Written in an order that is not that of the labels. The hat overlaps hair and skin, glasses lie below the eyes.
    7: {"hat": (0, 0, 16, 3), "l_eye": (3, 6, 6, 8), "r_eye": (10, 6, 13, 8), "eye_g": (2, 5, 14, 9), **COMMON},
    10: COMMON | {"l_brow": (3, 5, 6, 6), "l_ear": (1, 6, 3, 10), "ear_r": (1, 9, 3, 11)},
    1999: COMMON,
    2000: {"skin": (0, 0, 16, 16), "cloth": (0, 13, 16, 16), "neck": (5, 12, 11, 16)},
    2001: {"skin": (0, 0, 16, 16)},  # a label map of a single label
    9: COMMON | {"mouth": (6, 11, 10, 13), "l_lip": (6, 12, 10, 13)},
}


def expected_label_map(number: int) -> np.ndarray:
    """Return the label map of a face of the replica, pixel by pixel the highest label that covers it."""
    boxes = FACE_BOXES[number]
    labels = np.zeros((MASK_SIZE, MASK_SIZE), np.uint8)
    for y in range(MASK_SIZE):
        for x in range(MASK_SIZE):
            covering = [
                FACE_PARTS.index(name) + 1 for name, (x1, y1, x2, y2) in boxes.items() if x1 <= x < x2 and y1 <= y < y2
            ]
            labels[y, x] = max(covering, default=0)
    return labels


def make_celeba_mask_hq(root: Path, header: bool = True) -> Path:
    """CelebAMask-HQ with six faces and the lists of CelebA in the same folder; returns what holds CelebAMask-HQ.

    Masks as RGB, grey, bilevel and palette, folders of masks that change at 2000, rows of the mapping that are padded
    with blanks, not sorted, end in CR LF and may come without their header, faces that CelebA lists and HQ lacks, and
    stray files.
    """
    folder = root / "CelebAMask-HQ"
    for number in FACES:
        write_image(folder / "CelebA-HQ-img" / f"{number}.jpg", 2 * MASK_SIZE, 2 * MASK_SIZE)
        masks = folder / "CelebAMask-HQ-mask-anno" / str(number // 2000)
        masks.mkdir(parents=True, exist_ok=True)
        for place, (name, (x1, y1, x2, y2)) in enumerate(FACE_BOXES[number].items()):
            mask = np.zeros((MASK_SIZE, MASK_SIZE), np.uint8)
            mask[y1:y2, x1:x2] = 255
            mode = ("RGB", "RGB", "L", "1", "P")[place % 5]
            Image.fromarray(mask).convert(mode).save(masks / f"{number:05d}_{name}.png")
        write_text(masks / ".DS_Store", "stray")
        write_text(masks / "Thumbs.db", "stray")
    write_text(folder / "CelebA-HQ-img" / ".DS_Store", "stray")
    rows = [f"{number}        {int(file[:6]) - 1}      {file}" for number, (file, _) in FACES.items()]
    rows = ["idx  orig_idx    orig_file"] * header + [*rows, ""]
    (folder / "CelebA-HQ-to-CelebA-mapping.txt").write_bytes("\r\n".join(rows).encode())
    parts = dict(FACES.values()) | {"000002.jpg": 0, "200000.jpg": 2}
    write_text(folder / "list_eval_partition.txt", "".join(f"{file} {part}\n" for file, part in sorted(parts.items())))
    return root


def make_edges2handbags(root: Path) -> Path:
    """Edges2Handbags: dark edges on the left, bright photographs on the right, and an odd width; returns its folder.

    Photographs are brighter at their right border, edges darker, so that a flip is to be seen. Numbers 2 and 10, whose
    order as text is another, a grey file, and stray files.
    """
    folder = root / "edges2handbags"
    ramp = np.tile(np.linspace(0, 55, 20), (20, 1))
    for part, numbers in (("train", (2, 10, 100, 1)), ("val", (10, 2))):
        for number in numbers:
            edges, photograph = 55 - ramp, 200 + ramp
            if number == 100:  # 41 wide: the middle column belongs to the photograph
                photograph = np.concatenate([photograph[:, :1], photograph], axis=1)
            picture = Image.fromarray(np.concatenate([edges, photograph], axis=1).astype(np.uint8))
            path = folder / part / f"{number}_AB.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.convert("L" if number == 1 else "RGB").save(path, quality=95)
        write_text(folder / part / ".DS_Store", "stray")
        write_text(folder / part / "Thumbs.db", "stray")
    return folder


def make_label_map(path: Path, width: int = 20, height: int = 15, classes: int = 4, mode: str = "L") -> np.ndarray:
    """Write a label map of noise, and return it.

    Args:
        path: of a PNG.
        width: pixels.
        height: pixels.
        classes: labels go from 0 to this, which is excluded.
        mode: "L", "P" with colours that are not the labels, "I;16" or "RGB" with equal channels.
    """
    generator = np.random.default_rng(sum(path.stem.encode()))
    labels = generator.integers(0, classes, (height, width), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint16) if mode == "I;16" else labels)
    if mode == "P":
        image.putpalette([200, 10, 10, 5, 5, 5, 0, 255, 0, 90, 90, 90] + [0] * 756)
    (image.convert("RGB") if mode == "RGB" else image).save(path)
    return labels


def make_paired_folders(root: Path, names: tuple[str, ...], size: tuple[int, int] = (20, 15)) -> Path:
    """Write <root>/labels/<name>.png with four labels, <root>/edges/<name>.png and <root>/images/<name>.jpg."""
    for name in names:
        make_label_map(root / "labels" / f"{name}.png", *size)
        write_image(root / "edges" / f"{name}.png", *size, mode="L")
        write_image(root / "images" / f"{name}.jpg", *size)
    for folder in ("labels", "edges", "images"):
        write_text(root / folder / ".DS_Store", "stray")
        write_text(root / folder / "Thumbs.db", "stray")
    return root
