"""What a recipe can say of a backbone. Their builders are in `lib.models.backbones`, which loads TensorFlow."""

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from lib.addresses import bucket_and_key
from lib.models.values import Described

IMAGENET, RANDOM = "imagenet", "none"
WeightsName = Annotated[str, Field(min_length=1, max_length=1_024, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
"""The name of weights, as `Backbone.weights` explains."""
Starts = TypeVar("Starts", str, list[str], None)
STORE_ADDRESS = re.compile(r"weights/[a-z0-9-]+/[0-9a-f]{16}")
SMALLEST_PX = {
    "densenet121": 32,
    "efficientnet-lite0": 32,
    "efficientnet-lite2": 32,
    "inception-v3": 75,
    "mobilenet": 32,
    "resnet50": 32,
}
"""Backbones by name, and the side of an image below which their last feature map would be empty."""
LARGEST_PX = 1_024


def check_starts(starts: Starts) -> Starts:
    """`starts`: names of weights, of which an s3:// address must be one, without a password.

    Raises PermanentError.
    """
    names: list[str] = [starts] if isinstance(starts, str) else starts or []
    for name in names:
        if name.startswith("s3://"):
            bucket_and_key(name, "--weights at S3 must be s3://bucket/key")
    return starts


class Backbone(Described):
    """A network without its head, whose average-pooled features the recipe's own layers classify."""

    name: str
    """Its builder in `lib.models.backbones.BACKBONES`."""
    image_px: int = Field(gt=0, le=LARGEST_PX)
    """Images are enlarged to squares of this side, in the model."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How they are enlarged. XLA, and so a GPU recipe that is not deterministic, knows no bicubic."""
    weights: Annotated[WeightsName, AfterValidator(check_starts)] = IMAGENET
    """`imagenet`, `none` (a random start), a file, an s3:// address, or the address weights/BACKBONE/KEY in the store.
    """
    pooled: tuple[str, ...] = Field(default=(), max_length=100)
    """Layers whose average-pooled maps are the features, side by side; without any, the last one."""
    frozen: bool = False
    """Never trained: its features are computed once, kept in the store, and a head is trained on them."""

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights: its BatchNorm then keeps what came with them."""
        return self.weights != RANDOM

    @property
    def weights_lie_elsewhere(self) -> bool:
        """Whether they are a file or at an s3:// address, which not all machines can read."""
        return self.weights not in {IMAGENET, RANDOM} and not self.weights_lie_in_the_store

    @property
    def weights_lie_in_the_store(self) -> bool:
        """Whether they are an address there. A path that only begins like one is a path."""
        return bool(STORE_ADDRESS.fullmatch(self.weights))
