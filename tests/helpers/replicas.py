"""Tiny replicas of public data sets, with the irregularities that loaders of the real ones have to stand.

Each builder writes below ``root`` and returns the folder that a datamodule takes as its root. Pixels are noise that
depends on the file name alone.
"""

import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

CROWD = 1


def write_image(path: Path, width: int, height: int, mode: str = "RGB") -> None:
    """Write an image of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(zlib.crc32(path.name.encode()))
    coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_spair(root: Path, split: str = "test") -> Path:
    """SPair-71k with five listed pairs of the categories cat and aeroplane.

    Names with a colon and with an underscore, images that are wide, tall and grey, target boxes smaller than the
    source's, a list without a last line end, an annotation that is not listed, and stray files.
    """
    folder = root / "SPair-71k"
    sizes = {"2008_000002": (80, 50), "2008_000001": (40, 64), "2008_000004": (60, 60), "2008_000003": (64, 47)}
    categories = {"2008_000001": "cat", "2008_000002": "cat", "2008_000003": "aeroplane", "2008_000004": "aeroplane"}
    for name, (width, height) in sizes.items():
        mode = "L" if name == "2008_000001" else "RGB"
        write_image(folder / "JPEGImages" / categories[name] / f"{name}.jpg", width, height, mode)
    keypoints = {
        "2008_000001": [[0, 0], [39, 63], [20, 31]],
        "2008_000002": [[0, 0], [79, 49], [40, 25]],
        "2008_000003": [[5, 7]],
        "2008_000004": [[30, 59]],
    }
    boxes = {
        "2008_000001": [10, 10, 30, 40],  # 20 x 30
        "2008_000002": [1, 2, 78, 48],  # 77 x 46
        "2008_000003": [3, 4, 63, 44],  # 60 x 40
        "2008_000004": [20, 20, 30, 60],  # 10 x 40
    }

    def annotate(number: str, source: str, target: str, separator: str) -> str:
        annotation = {
            "pair_id": int(number),
            "src_imname": f"{source}.jpg",
            "trg_imname": f"{target}.jpg",
            "src_imsize": [*sizes[source], 3],
            "trg_imsize": [*sizes[target], 3],
            "src_bndbox": boxes[source],
            "trg_bndbox": boxes[target],
            "category": categories[source],
            "src_kps": keypoints[source],
            "trg_kps": keypoints[target],
            "kps_ids": ["0", "7", "11"][: len(keypoints[source])],
            "mirror": 0,
            "viewpoint_variation": 1,
        }
        pair = f"{number}-{source}-{target}"
        annotations = folder / "PairAnnotation" / split
        write_text(annotations / f"{pair}{separator}{categories[source]}.json", json.dumps(annotation))
        return f"{pair}:{categories[source]}"

    pairs = [
        annotate("000009", "2008_000002", "2008_000001", ":"),
        annotate("10", "2008_000001", "2008_000002", "_"),
        annotate("000011", "2008_000003", "2008_000004", "_"),
        annotate("000012", "2008_000004", "2008_000003", ":"),
        annotate("000013", "2008_000002", "2008_000002", ":"),
    ]
    annotate("000014", "2008_000001", "2008_000001", ":")  # not listed
    write_text(folder / "Layout" / "large" / f"{split}.txt", "\r\n".join(pairs))
    write_text(folder / "Layout" / "small" / f"{split}.txt", pairs[0] + "\n")
    write_text(folder / "PairAnnotation" / split / ".DS_Store", "stray")
    write_text(folder / "PairAnnotation" / split / "._000009.json", "stray")
    write_text(folder / "JPEGImages" / "Thumbs.db", "stray")
    return folder


def make_davis(root: Path, split: str = "val") -> Path:
    """DAVIS-2017 with two videos of five frames, and a third that no list names.

    Two objects, the second vanishing and coming back, a strip of void, a palette in colours, videos of different
    sizes whose names hold a dash, and stray files.
    """
    folder = root / "DAVIS"
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [64] * (3 * 253)
    for name, (width, height) in {"dogs-jump": (64, 36), "bike-packing": (42, 30), "unlisted": (32, 32)}.items():
        for frame in range(5):
            write_image(folder / "JPEGImages" / "480p" / name / f"{frame:05d}.jpg", width, height)
            ids = np.zeros((height, width), np.uint8)
            ids[4:14, 2 + frame : 14 + frame] = 1
            if frame not in (2, 3):
                ids[16:26, 20:34] = 2
            ids[:, -2:] = 255
            mask = Image.fromarray(ids)
            mask.putpalette(palette)
            path = folder / "Annotations" / "480p" / name / f"{frame:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask.save(path)
        write_text(folder / "JPEGImages" / "480p" / name / ".DS_Store", "stray")
        write_text(folder / "JPEGImages" / "480p" / name / "Thumbs.db", "stray")
    write_text(folder / "ImageSets" / "2017" / f"{split}.txt", "dogs-jump\r\nbike-packing\n\n")
    return folder


def make_voc(root: Path, year: int = 2007, split: str = "trainval") -> Path:
    """PASCAL VOC with four listed images.

    Leading zeros, a box that touches all borders, a single object, an image with difficult objects only, a body part,
    coordinates with decimals, xmax before xmin, flags that are missing, a size in the annotation that is wrong, an
    image that is not listed, and stray files.
    """
    folder = root / "VOCdevkit" / f"VOC{year}"

    def write_object(box: str, flags: str = "", more: str = "") -> str:
        return f"<object><name>dog</name>{flags}{more}<bndbox>{box}</bndbox></object>"

    def corners(xmin: object, ymin: object, xmax: object, ymax: object) -> str:
        return f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"

    difficult, truncated = "<difficult>1</difficult>", "<truncated>1</truncated><difficult>0</difficult>"
    part = f"<part><name>head</name><bndbox>{corners(2, 2, 3, 3)}</bndbox></part>"
    head_first = f"<part><name>hand</name><bndbox>{corners(5, 5, 6, 6)}</bndbox></part>"
    swapped = "<xmax>30</xmax><xmin>11</xmin><ymax>20</ymax><ymin>1</ymin>"
    objects = {
        "000012": [
            write_object(corners(1, 1, 50, 40)),
            write_object(corners(45.70000076293945, 10, 48.9, 20), truncated),
        ],
        "000005": [write_object(swapped, "<difficult>0</difficult>", head_first), write_object(corners(2, 3, 9, 9))],
        "000009": [write_object(corners(5, 6, 7, 8), difficult)],
        "000021": [write_object(corners(1, 2, 3, 4), "", part)],
        "000099": [write_object(corners(1, 2, 3, 4))],
    }
    sizes = {"000012": (50, 40), "000005": (40, 60), "000009": (20, 30), "000021": (30, 30), "000099": (30, 20)}
    for stem, found in objects.items():
        width, height = sizes[stem]
        write_image(folder / "JPEGImages" / f"{stem}.jpg", width, height, "L" if stem == "000021" else "RGB")
        size = f"<size><width>{width + 1}</width><height>{height}</height></size>"
        text = f"<annotation><filename>{stem}.jpg</filename>{size}{''.join(found)}</annotation>"
        write_text(folder / "Annotations" / f"{stem}.xml", text)
    write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "000012\r\n000005\n000009\n\n000021\n")
    write_text(folder / "ImageSets" / "Main" / f"dog_{split}.txt", "000012  1\n000005 -1\n")
    write_text(folder / "Annotations" / ".DS_Store", "stray")
    return root


def make_coco20k(root: Path) -> Path:
    """COCO20k with three images listed in an order that is not that of their ids.

    A crowd, coordinates at .5, an image without annotations, one that is not listed, and a stray file.
    """
    folder = root / "coco"
    names = {number: f"COCO_train2014_{number:012d}.jpg" for number in (9, 30, 25, 34)}
    sizes = {9: (64, 48), 30: (48, 64), 25: (50, 40), 34: (40, 40)}
    for number, name in names.items():
        write_image(folder / "train2014" / name, *sizes[number], "L" if number == 25 else "RGB")
    boxes = [  # (image, xywh, crowd)
        (30, [1.5, 2.5, 10.0, 20.2], 0),
        (9, [0.0, 0.0, 64.0, 48.0], CROWD),
        (34, [1, 1, 5, 5], 0),
        (9, [10.4, 5.0, 20.2, 30.0], 0),
        (30, [0.2, 0.7, 3.0, 4.0], 0),
    ]
    annotations = [
        {"id": 100 + index, "image_id": image, "category_id": 90, "bbox": box, "iscrowd": crowd, "area": 1.0}
        for index, (image, box, crowd) in enumerate(boxes)
    ]
    images = [
        {"id": number, "file_name": name, "width": sizes[number][0], "height": sizes[number][1]}
        for number, name in names.items()
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 90, "name": "toothbrush"}]}
    write_text(folder / "annotations" / "instances_train2014.json", json.dumps(content))
    write_text(folder / "train2014" / ".DS_Store", "stray")
    write_text(folder / "coco_20k_filenames.txt", "".join(f"train2014/{names[number]}\n" for number in (30, 9, 25)))
    return folder
