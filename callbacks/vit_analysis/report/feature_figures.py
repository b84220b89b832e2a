"""What ViTs learn to represent: the figures about features (thesis sections 2.4 and 2.7.5)."""

from collections.abc import Callable, Iterator

from callbacks.vit_analysis.report import line_plots, similarity
from callbacks.vit_analysis.report.exhibits import DrawnPicture, Exhibit, Models
from callbacks.vit_analysis.report.style import RANDOM, file_names, main_models

TOKENS = {"cls": "CLS token", "spatial": "spatial tokens"}
CLUSTERED = {
    "image_cls": "classes of images, CLS token",
    "image_spatial": "classes of images, mean of the spatial tokens",
    "object": "classes of objects, spatial tokens in their masks",
    "part": "classes of parts, spatial tokens in their masks",
}


def _last_layers(models: Models) -> Iterator[DrawnPicture]:
    for key, name in TOKENS.items():
        yield DrawnPicture(key, f"CKA of the last layers: {name}", similarity.between_models(models, key))


def _main_last_layers(models: Models) -> Iterator[DrawnPicture]:
    return _last_layers(main_models(models))


def _left_blank(models: Models) -> str:
    pairs = similarity.not_comparable(models, "cls")
    if not pairs:
        return ""
    listed = "; ".join(f"{a} and {b}" for a, b in pairs[:6]) + ("; …" if len(pairs) > 6 else "")
    return f"Left blank, because the two models were shown different images: {listed}."


def _purity(*keys: str) -> Callable[[Models], Iterator[DrawnPicture]]:
    def draw(models: Models) -> Iterator[DrawnPicture]:
        for key in keys:
            figure = line_plots.clustering(main_models(models), key, "purity")
            yield DrawnPicture(key, f"Purity: {CLUSTERED[key]}", figure)

    return draw


def _own_depth(models: Models) -> Iterator[DrawnPicture]:
    yield DrawnPicture("main", "CKA between the layers of each model", similarity.own_depth(main_models(models)))
    methods = list(dict.fromkeys(model.method for model in models))
    for method, part in file_names(methods).items():
        variants = [model for model in models if model.method == method]
        if len(variants) > 1 and method not in ("MAE", "BEiT", RANDOM):
            yield DrawnPicture(part, f"CKA between the layers of each {method} model", similarity.own_depth(variants))


def _variants(method: str) -> Callable[[Models], Iterator[DrawnPicture]]:
    def draw(models: Models) -> Iterator[DrawnPicture]:
        chosen = [model for model in models if model.method == method]
        yield DrawnPicture("variants", f"CKA between the layers of each {method} model", similarity.own_depth(chosen))

    return draw


def _residual(models: Models) -> Iterator[DrawnPicture]:
    for branch, name in (("attention", "attention"), ("mlp", "MLP")):
        figure = similarity.skip_against_branch(main_models(models), branch)
        yield DrawnPicture(f"{branch}_cka", f"CKA of skip connection and {name} branch", figure)
    for branch, name in (("attention", "attention"), ("mlp", "MLP")):
        for token, tokens in (("CLS", "CLS token"), ("spatial", "spatial tokens")):
            figure = line_plots.norm_ratio(main_models(models), branch, token)
            yield DrawnPicture(f"{branch}_ratio_{token.lower()}", f"Norm ratio, {name} branch, {tokens}", figure)


def _clustering(key: str) -> Callable[[Models], Iterator[DrawnPicture]]:
    def draw(models: Models) -> Iterator[DrawnPicture]:
        for name in line_plots.CLUSTERING:
            yield DrawnPicture(
                name.lower(), f"{name[0].upper()}{name[1:]}: {CLUSTERED[key]}", line_plots.clustering(models, key, name)
            )

    return draw


EXHIBITS = [
    Exhibit(
        "2.6",
        "Similarity of the last layers of different models",
        "Bright cells are pairs whose features carry much the same information. See whether models of one kind of "
        "supervision (explicit, contrastive, reconstruction) form blocks, and whether CLS and spatial tokens agree.",
        draw=_main_last_layers,
        narrowest=400,
        note=lambda models: _left_blank(main_models(models)),
    ),
    Exhibit(
        "2.7",
        "Purity of clusters by the class of the image",
        "k-means clusters of the features of every layer against the true classes; higher is better. See how early the "
        "lines rise, and whether the last layers lose again. The dashed line is noise in place of features.",
        draw=_purity("image_cls", "image_spatial"),
    ),
    Exhibit(
        "2.8",
        "Purity of clusters of objects and of parts",
        "Features averaged within the masks of objects (left) and parts (right). See at which layer each model peaks: "
        "often before the last. Frequent classes lift the dashed line of noise well above zero.",
        draw=_purity("object", "part"),
    ),
    Exhibit(
        "2.19",
        "Similarity of the last layers of all models",
        "As Figure 2.6. See which similarities outlast a change of architecture or patch size.",
        draw=_last_layers,
        narrowest=480,
        note=_left_blank,
    ),
    Exhibit(
        "2.20",
        "Similarity between the layers of each model",
        "Features after both LayerNorms of every block. A bright square is a group of layers that carry the same "
        "information; an X means that late layers resemble early ones, as in an encoder with a decoder.",
        draw=_own_depth,
        narrowest=480,
    ),
    Exhibit(
        "2.21",
        "Similarity between the layers of MAE models",
        "See whether larger models show late layers that resemble the early ones.",
        draw=_variants("MAE"),
        narrowest=480,
    ),
    Exhibit(
        "2.22",
        "Similarity between the layers of BEiT models",
        "Look for the X: BEiT has no decoder of its own, so its last layers have to act as one.",
        draw=_variants("BEiT"),
        narrowest=480,
    ),
    Exhibit(
        "2.23",
        "Skip connections against branches",
        "CKA between what the skip connection (up) and the branch (across) of each block carry, and how much larger "
        "the norm of the former is. Dark regions are where the two carry different things; see whether they begin with "
        "the sparse repeating patterns of Figure 2.2.",
        draw=_residual,
        narrowest=400,
    ),
    *(
        Exhibit(
            number,
            f"Clusters against {CLUSTERED[key]}",
            "Purity, normalised mutual information and adjusted Rand index, all models; higher is better.",
            draw=_clustering(key),
        )
        for number, key in zip(("2.24", "2.25", "2.26", "2.27"), CLUSTERED, strict=True)
    ),
]
