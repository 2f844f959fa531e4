"""THE place to add a built-in dataset: one `DatasetSpec` literal in `DATASETS`.

A dataset of a person's own needs no code: `lib.data.own`.
"""

from collections.abc import Iterable
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from lib.data.upstream import UpstreamFile
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.lineage.steps import STEPS

SOURCE_SPLITS = ("train", "test")


class SplitDigests(BaseModel):
    """sha256 over the decoded bytes of one source split: images uint8 (N, H, W, C), labels (N,) as uint8.

    Labels above 255 make it int32, little-endian, for all labels of the split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str
    labels: str
    coarse_labels: str | None = None


OWN_IMAGES = "own-images"


class DatasetSpec(BaseModel):
    """What a dataset is, where it comes from and what must be true of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z0-9-]+$")
    title: str
    format: str
    """Its decoder in `lib.data.parsers.FORMATS`."""
    files: tuple[UpstreamFile, ...] = ()
    image_shape: tuple[int, int, int]
    """(H, W, C)"""
    rows: dict[Literal["train", "test"], int]
    class_names: tuple[str, ...]
    superclass_names: tuple[str, ...] = ()
    digests: dict[Literal["train", "test"], SplitDigests] = {}
    """Demanded of what is decoded. None of a person's own images: theirs are recorded."""
    images: Ref | None = None
    """A person's own images, of which it is a version (the step `images`)."""
    validation_rows: int
    """Taken out of train; the 2023 notebook calls this split dev."""
    validation: Literal["drawn", "given"] = "drawn"
    """Which rows of train they are: drawn by `split_seed`, or the last ones, which its source or a rule gives."""
    split_seed: int = 0
    max_imbalance: float | None = 1.0
    """Rows of the largest class divided by rows of the smallest, at most; None: any."""
    source: str
    licence: str
    citation: str

    def limit_of(self, limit: int | None) -> int | None:
        """`limit` training rows, or None where there are no more: all rows have one address, however asked for."""
        return None if limit is None or limit >= self.rows["train"] - self.validation_rows else limit

    def key_values(self) -> dict[str, Any]:
        """Of `lib.lineage.steps`, what follows from the spec: what decides the decoded rows, and how they are split."""
        content = {"name", "format", "image_shape", "rows", "class_names", "superclass_names", "digests", "images"}
        rules = {"validation_rows", "validation", "split_seed", "max_imbalance"}
        return {
            "dataset_name": self.name,
            "spec": self.model_dump(mode="json", include=content, exclude_defaults=True),
            "rules": self.model_dump(mode="json", include=rules, exclude_defaults=True),
        }


GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"

CIFAR100_SUPERCLASSES = (
    "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices "
    "household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes "
    "large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees "
    "vehicles_1 vehicles_2"
)
CIFAR100_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster "
    "man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
    "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
    "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
    "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)


class Named(Protocol):
    """A literal with a name."""

    @property
    def name(self) -> str: ...


Literals = TypeVar("Literals", bound=Named)


def by_name(kind: str, literals: Iterable[Literals]) -> dict[str, Literals]:
    """Each by its name. Raises PermanentError where two have the same: a copied one would take the other's place."""
    found: dict[str, Literals] = {}
    for each in literals:
        if each.name in found:
            raise PermanentError(f"{kind} must have a name each of its own; two are called {each.name}: rename one")
        found[each.name] = each
    return found


DATASETS: dict[str, DatasetSpec] = by_name(
    "datasets",
    (
        DatasetSpec(
            name="digits",
            title="Optical recognition of handwritten digits",
            format="sklearn-digits",
            image_shape=(32, 32, 1),
            rows={"train": 1437, "test": 360},
            class_names=tuple("0123456789"),
            digests={
                "train": SplitDigests(
                    images="8f8619acfd7e4e3214d6c6b3150818a0e6db83a2dca4f580570648e784343935",
                    labels="472176d28e5c3fca243ca84caf3e7efaa1d114f7bce75b90ef770ba6d23e6e7d",
                ),
                "test": SplitDigests(
                    images="d6dedd17a1dbf235181b6590ed9b35ce77f23a4f475b0a817505a223e00abd68",
                    labels="da1a2ec12e5c2ed7d8850ca7ed88c3b71e3468151b1e545e5b75c80bed4925cf",
                ),
            },
            validation_rows=144,
            max_imbalance=1.1,
            source="sklearn.datasets.load_digits: 8×8 scans, each pixel enlarged to 4×4",
            licence="CC BY 4.0",
            citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
        ),
        DatasetSpec(
            name="cifar100",
            title="CIFAR-100",
            format="cifar100-binary",
            files=(
                UpstreamFile(
                    role="archive",
                    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
                    md5="03b5dce01913d631647c71ecec9e9cb8",
                    max_bytes=250_000_000,
                ),
            ),
            image_shape=(32, 32, 3),
            rows={"train": 50_000, "test": 10_000},
            class_names=tuple(CIFAR100_CLASSES.split()),
            superclass_names=tuple(CIFAR100_SUPERCLASSES.split()),
            digests={
                "train": SplitDigests(
                    images="4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
                    labels="9f11b9f97aad759ba6df0a33e3218b01d8deaf4ed3a14aa1185d69b9ad7ebcb3",
                    coarse_labels="1804078d4e89b6b90bd5da6ffead1404596f6eecba15ceb8d95b6a09dfbba4c0",
                ),
                "test": SplitDigests(
                    images="4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
                    labels="4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
                    coarse_labels="48df17fb3bf299f43dd7e131db11ca0ea8b07d750be8b6dcf7ad6ff1b4cc721d",
                ),
            },
            validation_rows=5_000,
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated; cite the report",
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        ),
        DatasetSpec(
            name="fashion-mnist",
            title="Fashion-MNIST",
            format="idx",
            files=(
                UpstreamFile(role="train-images", url=f"{GOOGLE}/train-images-idx3-ubyte.gz", max_bytes=60_000_000),
                UpstreamFile(role="train-labels", url=f"{GOOGLE}/train-labels-idx1-ubyte.gz", max_bytes=200_000),
                UpstreamFile(role="test-images", url=f"{GOOGLE}/t10k-images-idx3-ubyte.gz", max_bytes=10_000_000),
                UpstreamFile(role="test-labels", url=f"{GOOGLE}/t10k-labels-idx1-ubyte.gz", max_bytes=50_000),
            ),
            image_shape=(28, 28, 1),
            rows={"train": 60_000, "test": 10_000},
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            digests={
                "train": SplitDigests(
                    images="2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
                    labels="657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
                ),
                "test": SplitDigests(
                    images="c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
                    labels="3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
                ),
            },
            validation_rows=10_000,
            source="https://github.com/zalandoresearch/fashion-mnist",
            licence="MIT",
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
        ),
    ),
)


def dataset_address(spec: DatasetSpec) -> str:
    """Where the dataset of `spec` lies."""
    return STEPS["dataset"].address(**spec.key_values())


def prepared_address(spec: DatasetSpec, dataset: Ref, limit: int | None) -> str:
    """Where `dataset` lies once it is prepared with `limit` training rows (None: all)."""
    return STEPS["prepared"].address(**spec.key_values(), dataset=dataset, limit=spec.limit_of(limit))


def readable(name: str) -> str:
    """A class or field name as a person writes it."""
    return name.replace("_", " ")
