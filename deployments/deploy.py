"""Apply deployments/prefect.yaml and deployments/automations.py to the Prefect server: `make deploy`.

It creates work pools, and creates or updates deployments with their schedules, and automations. Of those with the tag
image-training-flows, it deletes what is no longer in the files. It is safe to run again. Notifications of failures and
reports go to NOTIFY_WEBHOOK_URL.

It prints when each schedule runs next and about how long that takes. With SCHEDULES=paused, as in a trial stack, new
schedules are paused. A schedule that was paused or resumed on the server stays so.
"""

import argparse
import json
import os
import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import yaml
from prefect.automations import AutomationCore
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from pydantic import Secret, SecretStr

from deployments.automations import TAG, automations
from deployments.configuration import FILE, Configuration, complete, read_configuration
from deployments.datasets import own_names_there, trained_on
from deployments.programs import program
from deployments.schedules import Deployed, time_zone, upcoming
from deployments.version import code_version
from deployments.worker import TEMPLATE
from flows.command import main_of
from lib.command_line import parser, resolved
from lib.errors import PermanentError, PipelineError, TransientError
from lib.planning.request import OFFERED
from lib.redaction import without_secrets
from lib.settings import REPOSITORY, read_settings
from lib.store import open_store
from lib.temporary import temporary_folder
from tasks.server import ask_server, is_of_the_server, of_status, require_address

SOON = {"PREFECT_CLIENT_MAX_RETRIES": "1", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "", "PREFECT_API_REQUEST_TIMEOUT": "20"}
"""Its program says nothing while it asks a server again and again that does not serve it."""
AGAIN = "make deploy is safe to run again"
WEBHOOK = f"{TAG}-webhook"
MADE_BY_SERVER = {"id", "created", "updated", "created_by", "updated_by", "owner_resource"}
MOVED_BY_RUNS = {"status", "last_polled", "global_concurrency_limit"}
"""The last counts the runs under way; what we say of it is its limit."""


def deploy(client: SyncPrefectClient, file: Path, resumed: list[str]) -> int:
    """Apply `file` and the automations, and start the schedules of the deployments `resumed`.

    Prints what was done to each; returns how many schedules are paused.
    """
    settings, prefect = read_settings(), program("prefect")
    store = open_store(settings.store_uri, settings.cache_dir)
    configuration = read_configuration(file, store)
    active = dict.fromkeys(schedules_of(configuration, resumed), True)
    webhook_url, zone = check_webhook(settings.notify_webhook_url), time_zone(settings.schedule_time_zone)
    ask_server(can_do_without=False)  # Prefect's client alone would wait as long as a server says
    for pool in configuration.pools:
        _ensure_pool(client, pool)
    before = read_deployed(client)
    paused = new_schedules(configuration, before) if settings.schedules == "paused" else set()
    _prefect_deploy(
        prefect,
        own_names_there(store),
        complete(configuration, _version(), zone, {**dict.fromkeys(paused, False), **active}),
    )
    _remove_others(client, configuration)
    after = read_deployed(client)
    for name, deployed in after.items():
        _say(_change(before.get(name), deployed), f"deployment {name}")
    webhook = _webhook(webhook_url) if webhook_url else None
    _apply_automations(client, automations(trained_on(configuration, after), settings.lost_after_s, webhook))
    return _say_schedules(after)


def schedules_of(configuration: Configuration, names: list[str]) -> list[tuple[str, str]]:
    """Deployment and slug of each schedule of these. Raises PermanentError where one has none."""
    known = {each.full_name: each.schedules for each in configuration.deployments if each.schedules}
    if unknown := [name for name in names if name not in known]:
        raise PermanentError(
            f"--resume must name deployments with schedules; received {unknown[0]}; known: {', '.join(known)}"
        )
    return [(name, schedule.slug) for name in names for schedule in known[name]]


def _remove_others(client: SyncPrefectClient, configuration: Configuration) -> None:
    """Delete the deployments and schedules that bear our tag and are not in the file."""
    wanted = {deployment.full_name: deployment for deployment in configuration.deployments}
    for name, deployed in read_deployed(client).items():
        if name in wanted:
            _remove_schedules(client, deployed, {schedule.slug for schedule in wanted[name].schedules})
        else:
            client.delete_deployment(deployed.id)
            _say("removed", f"deployment {name}")


def _say_schedules(deployed: Deployed) -> int:
    paused = 0
    for active, line in upcoming(deployed, datetime.now(UTC)):
        _say("scheduled" if active else "paused", line)
        paused += not active
    return paused


def _ensure_pool(client: SyncPrefectClient, name: str) -> None:
    """Create the pool where it is missing. Its workers take nothing from a run, other kinds of workers as they are."""
    template = json.loads(TEMPLATE.read_text())
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        with suppress(ObjectAlreadyExists):  # its first worker, just started, has made it
            client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
            _say("created", f"work pool {name}")
        return
    if pool.type == "process" and pool.base_job_template != template:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        _say("updated", f"work pool {name}")


def new_schedules(configuration: Configuration, before: Deployed) -> set[tuple[str, str]]:
    """Deployment and slug of each schedule that the server does not have yet."""
    wanted = {(each.full_name, schedule.slug) for each in configuration.deployments for schedule in each.schedules}
    return wanted - {(name, str(schedule.slug)) for name, each in before.items() for schedule in each.schedules}


def _version() -> str:
    version, why = code_version()
    if why:
        _say(version, f"version of this code: {why}")
    return version


def _prefect_deploy(prefect: str, own: list[str], told: dict[str, Any]) -> None:
    """`prefect deploy` of a file with what is `told`; its forms offer the datasets `own` too."""
    with temporary_folder() as folder:
        file = folder / FILE.name
        file.write_text(yaml.safe_dump(told))
        done = subprocess.run(
            [prefect, "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
            cwd=REPOSITORY,
            env={**os.environ, **SOON, OFFERED: ",".join(own)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise why_not_deployed(done.stdout + done.stderr)


def why_not_deployed(printed: str) -> PipelineError:
    """What a `prefect deploy` that failed has printed: of the server, or of what it was to deploy."""
    lines = [line.strip(" │") for line in printed.splitlines() if line.strip(" │╭╰─╮╯")]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Timeout)\b", line)]
    last = [*lines, *errors][-1] if lines else "it said nothing"
    answered = re.search(r"(?:Server|Client) error '(\d{3})\b", last)
    if answered and is_of_the_server(status := int(answered[1])):
        return of_status(status)
    kind = TransientError if last.startswith(("httpx.", "httpcore.")) else PermanentError
    return kind(f"prefect deploy failed: {last[:500]}")


def read_deployed(client: SyncPrefectClient) -> Deployed:
    """What bears our tag, by flow/deployment."""
    found = client.read_deployments(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])), limit=200
    )
    flows = {flow_id: client.read_flow(flow_id).name for flow_id in {each.flow_id for each in found}}
    by_name = {f"{flows[each.flow_id]}/{each.name}": each for each in found}
    return dict(sorted(by_name.items()))


def _remove_schedules(client: SyncPrefectClient, deployed: DeploymentResponse, wanted: set[str]) -> None:
    for schedule in deployed.schedules:
        if schedule.slug not in wanted:
            client.delete_deployment_schedule(deployed.id, schedule.id)
            _say("removed", f"schedule {schedule.slug} of {deployed.name}")


def _change(before: DeploymentResponse | None, after: DeploymentResponse) -> str:
    if before is None:
        return "created"
    return "unchanged" if settings_of(before) == settings_of(after) else "updated"


def settings_of(deployed: DeploymentResponse) -> dict[str, object]:
    """All of a deployment that we say, its schedules in order of their names."""
    told = deployed.model_dump(mode="json", exclude=MADE_BY_SERVER | MOVED_BY_RUNS | {"schedules"})
    limit = deployed.global_concurrency_limit
    schedules = [
        schedule.model_dump(mode="json", exclude=MADE_BY_SERVER | {"deployment_id"}) for schedule in deployed.schedules
    ]
    by_slug = sorted(schedules, key=lambda schedule: str(schedule["slug"]))
    return {**told, "limit": limit and limit.limit, "schedules": by_slug}


def check_webhook(url: str | None) -> str | None:
    """`url`, or None where it is empty. Raises PermanentError where nothing can be sent to it; never shows it."""
    if not url:
        return None
    with suppress(ValueError):
        address = urlsplit(url)
        if address.scheme in {"http", "https"} and address.hostname:
            return url
    raise PermanentError("NOTIFY_WEBHOOK_URL must be an https:// or http:// address; received something else")


def _webhook(url: str) -> UUID:
    # Prefect sends the text alone, and many receivers read JSON only where it is called so.
    webhook = Webhook(method="POST", url=SecretStr(url), headers=Secret({"Content-Type": "application/json"}))
    return UUID(str(webhook.save(WEBHOOK, overwrite=True)))


def _apply_automations(client: SyncPrefectClient, wanted: list[AutomationCore]) -> None:
    existing = {each.name: each for each in client.read_automations() if TAG in each.tags}
    for automation in wanted:
        known = existing.pop(automation.name, None)
        if known is None:
            client.create_automation(automation)
            _say("created", f"automation {automation.name}")
        elif plain(known) == plain(automation):
            _say("unchanged", f"automation {automation.name}")
        else:
            client.update_automation(known.id, automation)
            _say("updated", f"automation {automation.name}")
    for automation in existing.values():
        client.delete_automation(automation.id)
        _say("removed", f"automation {automation.name}")


def plain(automation: AutomationCore) -> dict[str, object]:
    """What we say of it: a trigger's id is the server's. Not as JSON, where a set of events comes in any order."""
    told = AutomationCore.model_validate(automation.model_dump()).model_dump(exclude=MADE_BY_SERVER)
    told["trigger"].pop("id", None)
    return told


def _say(done: str, what: str) -> None:
    print(f"{done:<10} {what}", flush=True)


def make_parser() -> argparse.ArgumentParser:
    options = parser(__doc__)
    options.add_argument(
        "--file",
        type=Path,
        default=FILE,
        metavar="FILE",
        help="apply this file (default: deployments/prefect.yaml)",
    )
    options.add_argument(
        "--resume",
        nargs="+",
        action="extend",
        default=[],
        metavar="FLOW/NAME",
        help="also start the paused schedules of these deployments, such as train-all/digits (default: none)",
    )
    return options


def command(arguments: list[str] | None = None) -> None:
    chosen = make_parser().parse_args(arguments)
    require_address()
    with get_client(sync_client=True) as client:
        paused = deploy(client, resolved(chosen.file, "--file"), chosen.resume)
        apart = f", with {paused} of its schedules paused" if paused else ""
        file = chosen.file.relative_to(REPOSITORY) if chosen.file.is_relative_to(REPOSITORY) else chosen.file
        print(f"{without_secrets(str(client.api_url)).rstrip('/')} matches {file}{apart}")


if __name__ == "__main__":
    main_of(command, AGAIN)
