"""How ViTs process information: the figures about attention (thesis sections 2.3 and 2.7.4)."""

from collections.abc import Callable, Iterator

from callbacks.vit_analysis.report import attention_maps, line_plots
from callbacks.vit_analysis.report.exhibits import DrawnPicture, Exhibit, Models
from callbacks.vit_analysis.report.line_plots import data_sets
from callbacks.vit_analysis.report.style import file_names, main_models

TOKEN_NAMES = {"cls": "attention of the CLS token", "spatial": "mean attention of the spatial tokens"}


def _overview(models: Models) -> Iterator[DrawnPicture]:
    yield DrawnPicture(
        "overview", "Average CLS attention, three heads a layer", attention_maps.overview(main_models(models))
    )


def _kinds(models: Models) -> Iterator[DrawnPicture]:
    yield DrawnPicture("kinds", "Kinds of local attention heads", attention_maps.local_heads(main_models(models)))


def _distance(models: Models) -> Iterator[DrawnPicture]:
    main = main_models(models)
    yield DrawnPicture("heads", "Attention distance of every head", line_plots.head_distances(main))
    yield DrawnPicture("layers", "Mean attention distance of every layer", line_plots.mean_distance(main))


def _saliency(models: Models) -> Iterator[DrawnPicture]:
    main = main_models(models)
    for data_set in data_sets(main, "saliency", "cls_best")[:1]:
        for token, name in TOKEN_NAMES.items():
            figure = line_plots.saliency(main, data_set, token)
            yield DrawnPicture(token, f"Salient content of {data_set}: {name}", figure)


def _example(index: int) -> Exhibit:
    def draw(models: Models) -> Iterator[DrawnPicture]:
        figure = attention_maps.example(main_models(models), index)
        yield DrawnPicture("example", f"CLS attention of every head for image {index + 1}", figure)

    return Exhibit(
        f"2.{11 + index}",
        f"CLS attention of every head for one image ({'first' if index == 0 else 'second'} example)",
        "Rows are layers, columns heads; every map has its own scale. Compare with the other example: where sparse "
        "repeating patterns occur, their positions are shared by heads and layers and change with the image.",
        draw=draw,
        narrowest=600,
    )


def _last_layer(models: Models) -> Iterator[DrawnPicture]:
    yield DrawnPicture(
        "last_layer", "CLS attention of the first head of the last layer", attention_maps.last_layer(models)
    )


def _offset(models: Models) -> Iterator[DrawnPicture]:
    yield DrawnPicture("offset", "One offset local attention head a model", attention_maps.offset_heads(models))


def _distance_of_all(models: Models) -> Iterator[DrawnPicture]:
    yield DrawnPicture("layers", "Mean attention distance, all models", line_plots.mean_distance(models))


def _saliency_of_all(models: Models) -> Iterator[DrawnPicture]:
    sets = data_sets(models, "saliency", "cls_best")
    for data_set, part in zip(sets, file_names(sets).values(), strict=True):
        for one_head, kind in ((False, "best head of each image"), (True, "best head of the layer")):
            for token, name in TOKEN_NAMES.items():
                figure = line_plots.saliency(models, data_set, token, one_head)
                suffix = f"{part}_{token}{'_one_head' if one_head else ''}"
                yield DrawnPicture(suffix, f"{data_set}: {name}, {kind}", figure)


def _every_head(key: str, what: str) -> Callable[[Models], Iterator[DrawnPicture]]:
    def draw(models: Models) -> Iterator[DrawnPicture]:
        for model, part in zip(models, file_names([m.name for m in models]).values(), strict=True):
            yield DrawnPicture(part, f"{what}: {model.name}", attention_maps.every_head(model, key))

    return draw


EXHIBITS = [
    Exhibit(
        "2.2",
        "Average attention of the CLS token",
        "Rows are layers, columns three of the heads; every map has its own scale. In the mid-to-late layers look for "
        "sparse repeating patterns (the same few positions in many heads), for blobs in the centre (the attention "
        "follows objects, which photographs tend to centre), and for maps that differ from head to head.",
        draw=_overview,
        narrowest=600,
    ),
    Exhibit(
        "2.3",
        "Kinds of local attention in Aligned Aggregated Attention Maps",
        "The attending token is in the middle of each map; [layer, head] stand below. Strict heads attend to the token "
        "itself, soft ones to all of its neighbourhood, axial ones along a row or column, and offset ones to a place "
        "beside it: there the mid-lines in red show how far off. The clearest head of each kind was chosen by its "
        "numbers; “none” means that no head of the model is of that kind.",
        draw=_kinds,
        narrowest=480,
    ),
    Exhibit(
        "2.4",
        "Average attention distance",
        "Low values are local heads, high ones global. See in which layers a model mixes both, and whether its last "
        "layers are global (explicit and contrastive supervision in the thesis) or stay mixed (reconstruction). "
        "Distances are measured on an image with sides of length 1; uniform attention gives 0.54 to 0.60.",
        draw=_distance,
        narrowest=420,
    ),
    Exhibit(
        "2.5",
        "Agreement of attention with salient content",
        "IoU between the tokens that hold 60 % of the attention and the annotated objects. See where the lines level "
        "off, and whether explicitly supervised models fall back in the middle of the network. The best head is chosen "
        "for each image, which flatters layers with many heads; Figure 2.16 also shows the best single head.",
        draw=_saliency,
    ),
    _example(0),
    _example(1),
    Exhibit(
        "2.13",
        "CLS attention for several images",
        "First head of the last layer; the last row is the mean over all images. See whether the maps follow the "
        "object of the image or look alike for all images.",
        draw=_last_layer,
        narrowest=480,
    ),
    Exhibit(
        "2.14",
        "Offset local attention heads",
        "Of each model's local heads the one that attends farthest from the token itself, with [layer, head] and the "
        "offset in tokens to the right and down. Mid-lines in red. An offset well below one token is no offset head.",
        draw=_offset,
        narrowest=480,
    ),
    Exhibit(
        "2.15",
        "Average attention distance of all models",
        "See whether the order of local and global layers follows the method rather than size and patch size.",
        draw=_distance_of_all,
    ),
    Exhibit(
        "2.16",
        "Agreement of attention with salient content, all models and data sets",
        "As Figure 2.5; besides the best head of each image, the single head that is best over all images.",
        draw=_saliency_of_all,
        narrowest=480,
    ),
    Exhibit(
        "2.17",
        "Average CLS attention of every head",
        "Rows are layers, columns heads; every map has its own scale.",
        draw=_every_head("cls_map", "Average CLS attention"),
        narrowest=260,
    ),
    Exhibit(
        "2.18",
        "Aligned Aggregated Attention Map of every head",
        "Rows are layers, columns heads; the attending token is where the red mid-lines cross. Positions far from the "
        "middle are reached by fewer tokens and look darker for that reason.",
        draw=_every_head("aligned", "Aligned attention"),
        narrowest=260,
    ),
]
