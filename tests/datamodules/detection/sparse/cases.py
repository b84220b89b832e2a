"""A file in COCO's format to make sparse, and the command that does it."""

import json

import numpy as np

from datamodules.detection.sparse.command import main

SPLITS = [
    *(["--split", split, "--percent", "50"] for split in "1235"),
    ["--split", "4", "--level", "hard"],
    ["--split", "siod"],
]


def coco(n=60, seed=0):
    """Return a file in COCO's format: eight images, of which the last is empty, three classes, some crowds."""
    rng = np.random.default_rng(seed)
    return {
        "info": {"year": 2017, "ä": "ü"},
        "licenses": [{"id": 1}],
        "images": [{"id": 100 - i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(8)],
        "categories": [{"id": 7 * k + 3, "name": name} for k, name in enumerate(["cat", "dog", "traffic light"])],
        "annotations": [
            {
                "id": int(number),
                "image_id": 100 - int(rng.integers(7)),
                "category_id": 7 * int(rng.integers(3)) + 3,
                "bbox": [0.1, 2, 3.25, 1e-3],
                "area": 3.5,
                "segmentation": [[1, 2, 3, 4, 5, 6.125]],
                "iscrowd": int(rng.random() < 0.1),
            }
            for number in rng.permutation(1000)[:n]
        ],
    }


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def run(source, output, *words):
    return main([*words, str(source), str(output)])


def failure(capsys, *words):
    """Return the error of a command, which is one line."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err
