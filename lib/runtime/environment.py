"""What decides the bits of a result, and is none of its inputs: set here for every process that computes.

Hundreds of variables change what TensorFlow computes. So those of its families are taken away, apart from a few that
are known to be harmless or that are recorded (`lib.training.devices.machine`). Keras's settings file is not read.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lib.lineage.provenance import usable_cores

SET = {
    "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",  # decides no bits: reading takes 13 MB less than with Arrow's own choice
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.devnull,  # no keras.json can lie below it, to be read or to be written
    "LC_ALL": "C.UTF-8",
    "MPLBACKEND": "agg",  # Keras loads matplotlib, which fails where the one of Jupyter is not installed
    "PYTHONHASHSEED": "0",
    "TF2_BEHAVIOR": "1",  # TensorFlow itself sets it so as it is loaded
    "TZ": "UTC",
}
FAMILIES = re.compile(
    "(TF|TF2|TFDATA|KERAS|XLA|TSL|ONEDNN|DNNL|MKL|OMP|GOMP|KMP|OPENBLAS|BLIS|NPY|AUTOGRAPH|CUBLAS|CUBLASLT)_.*"
    "|NVIDIA_TF32_OVERRIDE|GLIBC_TUNABLES|PYTHONOPTIMIZE|PYTHONWARNINGS|PYTHONDEVMODE"
)
HARMLESS = re.compile(
    "TF_CPP_.*|TF_FORCE_GPU_ALLOW_GROWTH|TF_GPU_(ALLOCATOR|THREAD_MODE|THREAD_COUNT)"
    "|KMP_(DUPLICATE_LIB_OK|INIT_AT_FORK)"  # scikit-learn sets them as it is loaded
)
TERRAFORM = re.compile("TF_(CLI|VAR|TOKEN|LOG|WORKSPACE|DATA_DIR|IN_AUTOMATION|INPUT|PLUGIN|REGISTRY|STATE|APPEND).*")
"""Another program's, with the same beginning."""
THREADS = "TF_NUM_INTRAOP_THREADS"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
RECORDED = {THREADS, ONEDNN}
"""They change a model's last bits, and a machine's owner may need them."""
XLA = "XLA_FLAGS"
WHERE_CUDA_IS = "--xla_gpu_cuda_data_dir="


def for_computing(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """`environment` as a process that computes has it, and the names of those variables that were taken away."""
    ignored = sorted(name for name in environment if _changes_results(name) and name not in SET)
    kept = {name: value for name, value in environment.items() if not _changes_results(name)}
    # A path alone, and for some installations the only way to say it.
    if words := [word for word in environment.get(XLA, "").split() if word.startswith(WHERE_CUDA_IS)]:
        kept[XLA] = " ".join(words)
        if words == environment[XLA].split():
            ignored.remove(XLA)
    return {**kept, **SET}, ignored


@contextmanager
def set_for_computing() -> Iterator[None]:
    """Have this process's own environment be one for computing, as long as it loads Keras."""
    before = dict(os.environ)
    environment, _ = for_computing(before)
    _become(environment)
    try:
        yield
    finally:
        _become(before)


def _become(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def threads() -> int:
    """With how many threads TensorFlow is to compute: TF_NUM_INTRAOP_THREADS, or else one for each usable core."""
    chosen = os.environ.get(THREADS, "")
    return int(chosen) if re.fullmatch("[1-9][0-9]{0,3}", chosen) else usable_cores()


def _changes_results(name: str) -> bool:
    known = name in RECORDED or any(each.fullmatch(name) for each in (HARMLESS, TERRAFORM))
    return name in SET or (not known and FAMILIES.fullmatch(name) is not None)
