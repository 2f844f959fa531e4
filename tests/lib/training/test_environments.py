"""The same digests of weights whatever the environment a training is begun under, or a recorded difference.

Each row is an environment that someone's machine had. A new one is one line.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lib.data.datasets import DATASETS
from lib.data.ingest import ingest
from lib.data.prepare import prepare
from lib.errors import TransientError
from lib.lineage.manifests import Manifest, Ref, load
from lib.models.overrides import override
from lib.models.recipes import find_recipe
from lib.runtime import processes
from lib.runtime.jobs import Event, Job, run_job
from lib.settings import Settings
from lib.store import LocalStore

pytestmark = pytest.mark.slow
EPOCHS = 2


@dataclass(frozen=True)
class Hostile:
    """Variables, and what stands in ~/.keras/keras.json."""

    variables: dict[str, str] = field(default_factory=dict)
    keras: dict[str, Any] | None = None


SAME_BITS: dict[str, Hostile] = {
    "float16 in keras.json": Hostile(keras={"floatx": "float16"}),
    "float64 and another epsilon in keras.json": Hostile(keras={"floatx": "float64", "epsilon": 0.01}),
    "channels first in keras.json": Hostile(keras={"image_data_format": "channels_first"}),
    "another backend in keras.json": Hostile(keras={"backend": "jax"}),
    "a keras.json that Keras refuses": Hostile(keras={"floatx": "bfloat16"}),
    "another backend": Hostile({"KERAS_BACKEND": "jax"}),
    "limits of Keras": Hostile({"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "3"}),
    "threads of OpenMP": Hostile({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
    "threads between operations": Hostile({"TF_NUM_INTEROP_THREADS": "1"}),
    "XLA for all": Hostile({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"}),
    "flags of XLA": Hostile({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}),
    "half precision": Hostile({"TF_SET_ONEDNN_FPMATH_MODE": "BF16", "NVIDIA_TF32_OVERRIDE": "1"}),
    "an older CPU's instructions": Hostile({"ONEDNN_MAX_CPU_ISA": "SSE41", "DNNL_MAX_CPU_ISA": "SSE41"}),
    "an older CPU's functions": Hostile({"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F"}),
    "hash seed and optimised Python": Hostile({"PYTHONHASHSEED": "4", "PYTHONOPTIMIZE": "2"}),
    "locale": Hostile({"LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.ISO-8859-1", "LC_NUMERIC": "de_DE"}),
    "time zone": Hostile({"TZ": "Pacific/Apia"}),
}
RECORDED: dict[str, tuple[Hostile, str, Any]] = {
    "one thread": (Hostile({"TF_NUM_INTRAOP_THREADS": "1"}), "threads", 1),
    "no oneDNN": (Hostile({"TF_ENABLE_ONEDNN_OPTS": "0"}), "onednn", False),
}
"""What of it is recorded, and as what."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, Ref]:
    store, spec = LocalStore(tmp_path_factory.mktemp("store")), DATASETS["digits"]
    return store, prepare(spec, store, ingest(spec, store, None, lambda *_: None), 300)


@pytest.fixture(autouse=True)
def no_server_is_left() -> Iterator[None]:
    yield
    for server in processes._servers:
        server.close()
    processes._servers.clear()


class Place:
    """A store of its own with the prepared data, and the environment to train there under."""

    def __init__(self, filled: tuple[LocalStore, Ref], folder: Path, patch: pytest.MonkeyPatch) -> None:
        whole, self.prepared = filled
        self.folder, self.patch, self.store = folder, patch, LocalStore(folder / "store")
        for path in [*whole.list("prepared"), *whole.list("datasets")]:
            self.store.write(path, whole.read(path))

    def train(self, hostile: Hostile, on_event: Any = lambda event: None) -> Manifest:
        """Dropout, BatchNorm, convolutions: all that depends on how a CPU is used."""
        home = self.folder / "home"
        (home / ".keras").mkdir(parents=True, exist_ok=True)
        if hostile.keras:
            (home / ".keras" / "keras.json").write_text(json.dumps(hostile.keras))
        recipe = override(find_recipe("digits-cnn"), EPOCHS, {})
        arguments = {"recipe": recipe.model_dump(), "prepared": self.prepared.model_dump(), "seed": 0}
        settings = Settings(store_uri=str(self.store.root))
        with self.patch.context() as environment:
            for name, value in {"HOME": str(home), **hostile.variables}.items():
                environment.setenv(name, value)
            job = Job(
                step="model",
                settings=settings,
                runs_on="cpu",
                arguments={**arguments, "weights": {}, "features": {}},
            )
            return load(self.store, run_job(job, on_event))


@pytest.fixture
def place(filled: tuple[LocalStore, Ref], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(filled, tmp_path, monkeypatch)


def digests(manifest: Manifest) -> dict[str, str]:
    return {**manifest.content, "last state": manifest.made_by["last_state"]}


@pytest.fixture(scope="module")
def clean(filled: tuple[LocalStore, Ref], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The model of an environment without any of this."""
    with pytest.MonkeyPatch.context() as patch:
        for name in RECORDED_VARIABLES:
            patch.delenv(name, raising=False)
        return Place(filled, tmp_path_factory.mktemp("clean"), patch).train(Hostile())


RECORDED_VARIABLES = [name for hostile, _, _ in RECORDED.values() for name in hostile.variables]


@pytest.mark.parametrize("hostile", SAME_BITS.values(), ids=SAME_BITS)
def test_a_training_begun_there_ends_with_the_bits_of_a_clean_one(
    hostile: Hostile, place: Place, clean: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in RECORDED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert digests(place.train(hostile)) == digests(clean)


@pytest.mark.parametrize(("hostile", "fact", "value"), RECORDED.values(), ids=RECORDED)
def test_a_training_begun_there_records_it_and_one_that_is_resumed_elsewhere_warns(
    hostile: Hostile, fact: str, value: Any, place: Place, clean: Manifest
) -> None:
    told: list[Event] = []

    def stop_after_an_epoch(event: Event) -> None:
        if event["event"] == "epoch":
            raise TransientError("asked to stop")

    with pytest.raises(TransientError, match="asked to stop"):
        place.train(hostile, stop_after_an_epoch)
    made = place.train(Hostile(), told.append)
    begun_on, here = made.made_by["machine"], clean.made_by["machine"]
    assert begun_on == {**here, fact: value} != here, os.environ
    assert made.made_by["resumed_on"] == [here]
    assert [event["message"] for event in told if event["event"] == "warning"] == [
        f"begun on {begun_on}, resumed on {here}: the last bits may differ"
    ]
