"""Check an installation and say what to do about each problem: `python -m deployments.doctor`.

It checks what its environment and the environment file name.

It prints one line per check: server, work pools and their workers, deployments, notifications, store, mirror, weights,
GPUs, clocks and leases. Parts that `make train` does not need are "not set up" rather than missing. It changes nothing,
apart from a test file in the store that it deletes. The exit code is 2 if a line says FAIL.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import ParamSpec

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL

from deployments.checks import (
    Verdict,
    check_clock,
    check_deployments,
    check_gpu,
    check_leases,
    check_mirror,
    check_notifications,
    check_pool,
    check_schedules,
    check_server,
    check_store,
    check_weights,
    not_set_up,
)
from deployments.configuration import Parameters, parameters_of, read_configuration
from deployments.deploy import read_deployed
from deployments.version import code_version
from lib.command_line import add_store_option, main_of, parser, settings_of
from lib.errors import PermanentError, PipelineError, one_line
from lib.models.recipes import RECIPES
from lib.runtime.gpus import visible_gpus
from lib.settings import Settings
from lib.store import Store, open_store
from lib.store.s3 import s3_client
from lib.time_limits import TooSlow, within

P = ParamSpec("P")
OF_THE_SERVER = ("pools", "deployments", "schedules")
ANSWERS_WITHIN_S = 40.0
"""A check. That of leases watches them for up to 25 s."""


def examine(settings: Settings) -> Iterator[Verdict]:
    """All verdicts, each as soon as it is known."""
    store = partial(open_store, settings.store_uri, settings.cache_dir)
    yield (server := attempt("server", check_server))
    if PREFECT_API_URL.value() is None:
        yield from map(not_set_up, OF_THE_SERVER)
    else:
        yield from _of_the_server(store()) if server.level != "FAIL" else _skipped("no server", *OF_THE_SERVER)
        yield attempt("notify", check_notifications, settings.notify_webhook_url)
    yield (kept := attempt("store", lambda: check_store(store())))
    yield attempt("mirror", check_mirror, settings.mirror_url)
    yield from _of_weights(store(), settings) if kept.level != "FAIL" else _skipped("no store", "weights", "leases")
    yield attempt("gpu", lambda: check_gpu(visible_gpus()))
    yield attempt("clock", lambda: check_clock(_dated(settings.store_uri)))
    if kept.level != "FAIL":  # last: it may take its time
        yield attempt("leases", check_leases, store(), settings.lease_s)


def _of_the_server(store: Store) -> Iterator[Verdict]:
    try:
        configuration = read_configuration(store=store)
    except Exception as error:
        yield from (_failed("deployments", error), *_skipped("no deployments", "pools", "schedules"))
        return
    wanted = [deployment.full_name for deployment in configuration.deployments]
    with get_client(sync_client=True) as client:
        for pool in configuration.pools:
            yield attempt(f"pool {pool}", check_pool, client, pool)
        yield attempt("deployments", lambda: check_deployments(_versions(client), wanted, code_version()[0]))
        yield attempt("schedules", lambda: check_schedules(_parameters(client), parameters_of(configuration)))


def _versions(client: SyncPrefectClient) -> dict[str, str | None]:
    return {name: deployment.version for name, deployment in read_deployed(client).items()}


def _parameters(client: SyncPrefectClient) -> Parameters:
    deployed = read_deployed(client).items()
    return {(name, str(each.slug)): each.parameters for name, deployment in deployed for each in deployment.schedules}


def _of_weights(store: Store, settings: Settings) -> Iterator[Verdict]:
    backbones = {each.name: each for recipe in RECIPES.values() for each in recipe.backbones}
    for backbone in backbones.values():
        yield attempt("weights", check_weights, store, backbone, settings.mirror_url)


def _skipped(why: str, *names: str) -> Iterator[Verdict]:
    return (Verdict(name, "warn", f"not checked: {why}") for name in names)


def _dated(store_uri: str) -> list[str]:
    """Addresses whose answers say the time."""
    prefect = [f"{url}/health"] if (url := PREFECT_API_URL.value()) else []
    return [*prefect, s3_client().meta.endpoint_url] if store_uri.startswith("s3://") else prefect


def attempt(name: str, check: Callable[P, Verdict], *args: P.args, **kwargs: P.kwargs) -> Verdict:
    """The verdict of `check`, whatever it raises: FAIL then. Our own errors say themselves what to do."""
    try:
        return within(ANSWERS_WITHIN_S, lambda: check(*args, **kwargs))
    except TooSlow as error:
        return Verdict(name, "FAIL", f"what it asks {error}", "look at its log, and at the network")
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Verdict:
    kind = "" if isinstance(error, PipelineError) else f"{type(error).__name__}: "
    return Verdict(name, "FAIL", kind + one_line(error))


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    add_store_option(options)
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "3")  # what does not answer is better said soon
    failed = total = 0
    for verdict in examine(settings_of(chosen)):
        print(verdict, flush=True)
        failed, total = failed + (verdict.level == "FAIL"), total + 1
    if failed:
        raise PermanentError(f"{failed} of {total} checks failed; their lines say what to do")


if __name__ == "__main__":
    main_of(command)
