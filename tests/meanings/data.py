"""Of the steps from images to features."""

import io
from typing import Any

import numpy as np
from PIL import Image

from tests.meanings.pinning import images, labels, moments, of_step, toy


@of_step("images")
def sides_of_images() -> Any:
    from lib.images.sides import side_of

    none, test = frozenset[str](), frozenset({"train", "test"})
    return [[side_of(str(number), None, none), side_of(str(number), "train", test)] for number in range(40)]


@of_step("images")
def digest_of_pixels() -> Any:
    from lib.images.decoding import decode, pixel_digest

    stream = io.BytesIO()
    Image.fromarray(images(1)[0]).save(stream, "png")
    return pixel_digest(decode(stream.getvalue(), None, None))


@of_step("dataset")
def squares_of_images() -> Any:
    from lib.images.decoding import decode

    stream = io.BytesIO()
    Image.fromarray(images(1, side=21)[0, :17]).save(stream, "png")
    return moments(decode(stream.getvalue(), 8, 3).pixels)


@of_step("dataset")
def parsed_digits() -> Any:
    from lib.data.datasets import DATASETS
    from lib.data.parsers import decode_digits

    return {split: data.digests().model_dump() for split, data in decode_digits(DATASETS["digits"], {}).items()}


@of_step("prepared")
def splits_and_limits() -> Any:
    from lib.data.datasets import DATASETS
    from lib.data.splits import limited, split_rows

    spec = DATASETS["digits"].model_copy(update={"validation_rows": 12})
    duplicates = {"train_in_test": np.array([4]), "train_grouped": np.array([4, 7, 11])}
    splits = split_rows(spec, labels(90), labels(30), duplicates)
    return [each.content() for each in (splits, limited(splits, labels(90), 9))]


@of_step("prepared")
def profile() -> Any:
    from lib.data.profile import channel_statistics, count_values, pixel_table

    colour, grey = (images(40, 3, channels)[::3] for channels in (3, 1))
    return channel_statistics(count_values([colour], (3, 3, 3))), pixel_table(count_values([grey], (3, 3, 1)))


@of_step("weights")
def accepted_layouts() -> Any:
    from lib.models.imagenet import IMAGENET_FILES

    return {name: [file.name for file in files] for name, files in IMAGENET_FILES.items()}


@of_step("features")
def pooled_maps_of_both_views() -> Any:
    from lib.models.networks import build_features
    from lib.models.schema import Augmentation, Backbone
    from lib.training.features import _views

    backbone = Backbone(name="mobilenet", image_px=32, frozen=True, weights="none", pooled=("conv_pw_1_relu",))
    recipe = toy(backbone=backbone, augmentation=Augmentation(flip=True), network="dense-1024")
    network = build_features(recipe, (8, 8, 3), seed=0)
    return moments(_views(images(4), True, lambda batch: network.predict(batch, verbose=0)))


@of_step("features")
def backbones_side_by_side() -> Any:
    from lib.models.networks import build_features
    from lib.models.schema import Augmentation, Backbone

    names = {"mobilenet": "conv_pw_1_relu", "efficientnet-lite0": "block2_add", "efficientnet-lite2": "block3_add"}
    first, *beside = (
        Backbone(name=name, image_px=32, frozen=True, weights="none", pooled=(layer,)) for name, layer in names.items()
    )
    recipe = toy(backbone=first, beside=tuple(beside), augmentation=Augmentation(), network="dense-1024")
    return moments(build_features(recipe, (8, 8, 3), seed=0).predict(images(4), verbose=0))
