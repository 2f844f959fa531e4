"""deployments/prefect.yaml, read strictly: Prefect itself passes over a key that it does not know."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from deployments.automations import TAG
from flows.parameters import REQUESTS
from lib.errors import PermanentError, explain_validation
from lib.files import read_regular
from lib.planning.dates import MOST_IN_A_DAY
from lib.planning.plan import check_parameters, check_parameters_without_model
from lib.planning.request import ModelRequest, PredictionRequest
from lib.store import Store

FILE = Path(__file__).with_name("prefect.yaml")
LARGEST_BYTES = 1 << 20
MOST_CHARACTERS = 100_000
"""Of a file whose aliases are written out: a small file of aliases of aliases can stand for any number."""
NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
LONGEST_NUMBER = 100
"""Python writes no number of thousands of digits, not even into an error."""
CRON_FIELDS = 5
ANY_INPUT = "s3://bucket/prefix"
A_WEEK = timedelta(days=8)
"""And the rest of today."""
Parameters = dict[tuple[str, str], dict[str, Any]]
"""Of schedules, by deployment and slug."""
UNREADABLE = (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError, yaml.YAMLError)
"""What PyYAML raises on a value that is not of the kind it is said to be."""


class CarefulLoader(yaml.SafeLoader):
    """Refuses what stands for too much, and a key that stands twice in one mapping: YAML keeps the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.characters: dict[yaml.Node, int] = {}
        """Of each node that is complete, its aliases written out."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if not alias:
            self.characters[node] = self._count(node)
        elif node not in self.characters:
            raise yaml.MarkedYAMLError(problem="an alias must stand outside its anchor", problem_mark=node.start_mark)
        if self.characters[node] > MOST_CHARACTERS:
            problem = f"with aliases written out it must have at most {MOST_CHARACTERS:,} characters"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if node.tag in NUMBERS and len(node.value) > LONGEST_NUMBER:
            problem = f"a number must have at most {LONGEST_NUMBER} digits"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return node

    def _count(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1 + len(node.value)
        parts = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        return 1 + sum(self.characters[part] for part in parts)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"a second {key.value}", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(CronSchedule):
    """When it runs, in a time zone, and with which parameters besides the deployment's."""

    slug: str = Field(min_length=1)
    timezone: str | None = None
    """None: that of `make deploy`, see SCHEDULE_TIME_ZONE."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if len(self.cron.split()) > CRON_FIELDS:  # @daily has one; Prefect takes a sixth, for seconds
            raise ValueError(f"cron must have five fields; received {self.cron!r}")
        try:
            began = self.starts(1)
        except Exception:  # of croniter, which the server has a copy of
            began = []
        if not began:
            raise ValueError(f"cron must name a time that comes; {self.cron!r} never does")
        return self

    def starts(self, most: int, until: datetime | None = None) -> list[datetime]:
        """The next times, at most 1,000 of them."""
        from prefect.server.schemas.schedules import CronSchedule as Dates  # a part of the server: it takes a second

        dates = Dates(cron=self.cron, timezone=self.timezone, day_or=self.day_or)
        return list(asyncio.run(dates.get_dates(most, end=until)))


class ConcurrencyLimit(Strict):
    """How many of its runs may be under way; others wait, as CANCEL_NEW can cancel the wrong one after a crash."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE"]


class WorkPool(Strict):
    """Where it runs. Its workers take no job variables: they could be a shell command."""

    name: str = Field(min_length=1)


class Deployment(Strict):
    """One entry of `deployments`."""

    name: str
    entrypoint: str
    version: str | None = None
    """None: this code's commit."""
    description: str
    tags: list[str]
    work_pool: WorkPool
    parameters: dict[str, JsonValue] = {}
    schedules: list[Schedule] = []
    concurrency_limit: ConcurrencyLimit | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name or not self.name.isprintable() or "/" in self.name:
            raise ValueError(f"name must be printable, not empty and without /; it is {self.name!r}")
        for slug, count in Counter(schedule.slug for schedule in self.schedules).items():
            if count > 1:
                raise ValueError(f"schedules must have a slug each of its own; {slug} stands {count} times")
        return self

    @property
    def flow(self) -> Flow[..., Any]:
        """The flow that its entrypoint names."""
        module, _, name = self.entrypoint.rpartition(".")
        try:
            flow = getattr(import_module(module), name, None)
        except (ImportError, TypeError, ValueError):
            flow = None
        if not isinstance(flow, Flow):
            raise PermanentError(f"entrypoint must be module.flow; received {self.entrypoint}")
        return flow

    @property
    def full_name(self) -> str:
        """flow/deployment, as `prefect deployment run` wants it."""
        return f"{self.flow.name}/{self.name}"

    def check(self, store: Store | None = None) -> None:
        """Raise PermanentError where tag, entrypoint or a set of parameters is not valid.

        `store` knows the datasets of people's own.
        """
        if TAG not in self.tags:
            raise PermanentError(f"{self.full_name} must bear the tag {TAG}; received {', '.join(self.tags)}")
        name = self.full_name
        try:
            self._check_own_parameters(store)
            for schedule in self.schedules:
                name = f"{self.full_name}, schedule {schedule.slug}"
                check_parameters(self._request, {**self.parameters, **schedule.parameters}, store)
            name = self.full_name
            self._check_starts()
        except PermanentError as error:
            raise PermanentError(f"{name}: {error}") from error

    def _check_starts(self) -> None:
        """Raise PermanentError where the seed `fresh` has not a number for each start of a day."""
        parameters = [{**self.parameters, **schedule.parameters} for schedule in self.schedules]
        if all(each.get("seed") != "fresh" for each in parameters):
            return
        soon = datetime.now(UTC) + A_WEEK
        starts = [at.date() for schedule in self.schedules for at in schedule.starts(1_000, soon)]
        for day, count in Counter(starts).most_common(1):
            if count > MOST_IN_A_DAY:
                raise PermanentError(
                    f"where a seed is fresh, all schedules of a deployment must have at most {MOST_IN_A_DAY} starts a "
                    f"day; they have {count} on {day}: start less often, or give each schedule a number as its seed"
                )

    def _check_own_parameters(self, store: Store | None) -> None:
        if self._request is ModelRequest and "model" not in self.parameters:  # train-all or a person gives it
            check_parameters_without_model(self.parameters, store)
        else:
            asked = {"input": ANY_INPUT} if self._request is PredictionRequest else {}  # else a person gives it
            check_parameters(self._request, {**asked, **self.parameters}, store)

    @property
    def _request(self) -> type[BaseModel]:
        if not (request := REQUESTS.get(self.flow.fn)):
            raise PermanentError(
                f"entrypoint must be a flow with @takes (flows.parameters); received {self.entrypoint}"
            )
        return request


class Configuration(Strict):
    """The whole file. `definitions` is where its anchors stand."""

    name: str
    build: list[dict[str, Any]] = []
    pull: list[dict[str, Any]]
    definitions: dict[str, Any] = {}
    deployments: list[Deployment]

    @property
    def pools(self) -> list[str]:
        """The names of all work pools, each once."""
        return list(dict.fromkeys(deployment.work_pool.name for deployment in self.deployments))


def parameters_of(configuration: Configuration) -> Parameters:
    """Those of each schedule."""
    deployments = configuration.deployments
    return {(each.full_name, one.slug): one.parameters for each in deployments for one in each.schedules}


def _load(file: Path) -> object:
    loader = CarefulLoader(read_regular(file, LARGEST_BYTES).decode())
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_configuration(file: Path = FILE, store: Store | None = None) -> Configuration:
    """The file's content, entrypoints and parameters checked. Raises PermanentError where it is not as it must be.

    `store` knows the datasets of people's own.
    """
    try:
        configuration = Configuration.model_validate(_load(file))
    except ValidationError as error:
        raise explain_validation(error, str(file)) from error
    except UNREADABLE as error:
        raise PermanentError(f"{file} must be readable YAML: {' '.join(str(error).split())}") from error
    for deployment in configuration.deployments:
        deployment.check(store)
    for name, count in Counter(deployment.full_name for deployment in configuration.deployments).items():
        if count > 1:
            raise PermanentError(f"{file} must name each deployment once; received {name} {count} times")
    return configuration


Activity = Mapping[tuple[str, str], bool]
"""A deployment's name and the slug of a schedule → whether it is to be active."""


def complete(configuration: Configuration, version: str, zone: str, active: Activity) -> dict[str, Any]:
    """What `prefect deploy` reads: with a version for each deployment, and a time zone for each schedule.

    A schedule that `active` does not have stays as the server has it; a new one is active.
    """
    told = configuration.model_dump(exclude_unset=True, exclude={"definitions"})
    for each, deployment in zip(told["deployments"], configuration.deployments, strict=True):
        each["version"] = deployment.version or version
        for schedule in each.get("schedules", []):
            schedule["timezone"] = schedule.get("timezone") or zone
            if (known := active.get((deployment.full_name, schedule["slug"]))) is not None:
                schedule["active"] = known
    return told
