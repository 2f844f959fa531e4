"""What of its environment a process that computes has, told without loading TensorFlow."""

import os

import pytest

from lib.lineage import provenance
from lib.runtime.environment import for_computing, set_for_computing, threads

SET = {
    "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": os.devnull,
    "LC_ALL": "C.UTF-8",
    "MPLBACKEND": "agg",
    "PYTHONHASHSEED": "0",
    "TF2_BEHAVIOR": "1",
    "TZ": "UTC",
}
HARMLESS = {
    "KMP_INIT_AT_FORK": "FALSE",
    "PATH": "/bin",
    "CUDA_VISIBLE_DEVICES": "1",
    "CUDA_HOME": "/opt/cuda",
    "AWS_ACCESS_KEY_ID": "key",
    "PYTHONPATH": "/code",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_CLI_CONFIG_FILE": "terraform's",
    "TF_VAR_region": "terraform's",
    "XLA_FLAGS": "--xla_gpu_cuda_data_dir=/opt/cuda",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_NUM_INTRAOP_THREADS": "3",
}


def test_what_changes_no_result_or_is_recorded_is_kept() -> None:
    assert for_computing(HARMLESS) == ({**HARMLESS, **SET}, [])


@pytest.mark.parametrize(
    "name",
    [
        *("TF_XLA_FLAGS", "TF_SET_ONEDNN_FPMATH_MODE", "TF_NUM_INTEROP_THREADS", "TF_DETERMINISTIC_OPS", "TF_CONFIG"),
        *("KERAS_MAX_EPOCHS", "KERAS_NNX_ENABLED", "KERAS_TORCH_DEVICE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
        *("OMP_NUM_THREADS", "MKL_CBWR", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "NVIDIA_TF32_OVERRIDE"),
        *(
            "GLIBC_TUNABLES",
            "PYTHONOPTIMIZE",
            "PYTHONWARNINGS",
            "CUBLAS_WORKSPACE_CONFIG",
            "TF_NEW_IN_THE_NEXT_VERSION",
        ),
    ],
)
def test_what_may_change_a_result_is_taken_away_and_named(name: str) -> None:
    assert for_computing({"PATH": "/bin", name: "1"}) == ({"PATH": "/bin", **SET}, [name])


@pytest.mark.parametrize("name", SET)
def test_what_is_set_is_the_same_whatever_was_there(name: str) -> None:
    assert for_computing({name: "another"}) == (SET, [])


def test_of_xla_s_flags_only_the_place_of_cuda_is_kept() -> None:
    flags = "--xla_cpu_enable_fast_math=true --xla_gpu_cuda_data_dir=/opt/cuda"
    kept, ignored = for_computing({"XLA_FLAGS": flags})
    assert (kept["XLA_FLAGS"], ignored) == ("--xla_gpu_cuda_data_dir=/opt/cuda", ["XLA_FLAGS"])


def test_a_process_that_loads_keras_for_a_moment_gets_its_own_environment_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    before = dict(os.environ)
    with set_for_computing():
        assert os.environ["KERAS_BACKEND"] == "tensorflow"
        assert "KERAS_MAX_EPOCHS" not in os.environ
    assert dict(os.environ) == before


@pytest.mark.parametrize(("chosen", "expected"), [("5", 5), ("", 2), ("0", 2), ("-1", 2), ("many", 2), ("1e9", 2)])
def test_threads_are_those_chosen_or_one_for_each_core(
    chosen: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 7})
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", chosen)
    assert threads() == expected


def test_where_the_system_does_not_say_which_cores_are_usable_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert provenance.usable_cores() == 10
