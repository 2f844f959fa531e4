"""Run all benchmarks and print one table: `make bench`, or `python -m tests.benchmarks [NAME …]`.

Each is a process of its own: reading, augmentation, decoding, training_step, streaming, no_op, time_to_accuracy.
CIFAR-100 and Fashion-MNIST are ingested first, where the store (STORE_URI) lacks them. Run it on an otherwise idle
machine. `python -m tests.benchmarks.own_images_at_scale` is not among them: a million images take most of an hour.
"""

import argparse
import json
import subprocess
import sys
import time

from lib.lineage.provenance import environment
from tests.benchmarks.measuring import Measured, own_process, print_table
from tests.running_stack import REPOSITORY

BENCHMARKS = ("reading", "augmentation", "decoding", "training_step", "streaming", "no_op", "time_to_accuracy")
WITH_SEEDS = {"streaming", "time_to_accuracy"}


def make_parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    options.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="trainings for streaming and time_to_accuracy (default: 1)"
    )
    return options


def _given(name: str, chosen: argparse.Namespace) -> list[str]:
    return [str(chosen.seeds)] if name in WITH_SEEDS else []


def main() -> None:
    options = make_parser()
    chosen = options.parse_args()
    names = chosen.names or BENCHMARKS
    if unknown := set(names) - set(BENCHMARKS):
        options.error(f"NAME must be one of {', '.join(BENCHMARKS)}; received {', '.join(sorted(unknown))}")
    if chosen.seeds < 1:
        options.error(f"--seeds must be at least 1; received {chosen.seeds}")
    for dataset in ("cifar100", "fashion-mnist"):
        ingest = [sys.executable, "-m", "flows.ingest", "--dataset", dataset]
        if code := subprocess.run(ingest, cwd=REPOSITORY, check=False).returncode:
            sys.exit(code)  # it has said why
    found, began = list[Measured](), time.monotonic()
    for name in names:
        found += [
            Measured(**each) for each in json.loads(own_process(f"tests.benchmarks.{name}", *_given(name, chosen)))
        ]
        print(f"{name}: done after {(time.monotonic() - began) / 60:.1f} minutes", file=sys.stderr)
    print_table(found)
    hardware = environment()["hardware"]
    print(f"{time.strftime('%Y-%m-%d')}: {hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB")


if __name__ == "__main__":
    main()
