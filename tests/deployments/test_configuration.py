"""deployments/prefect.yaml is checked before it is applied."""

import copy
from collections.abc import Callable
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from deployments.automations import TAG, automations
from deployments.configuration import FILE, complete, read_configuration
from flows.ingest import ingest
from flows.parameters import REQUESTS
from lib.data.datasets import DATASETS
from lib.errors import PermanentError

TOLD = yaml.safe_load(FILE.read_text())


def test_every_entrypoint_imports_and_every_parameter_set_fits_its_flow() -> None:
    deployments = read_configuration().deployments
    assert {"train-model/cpu", "train-model/gpu"} <= {deployment.full_name for deployment in deployments}
    assert {each.parameters["dataset"] for each in deployments if "dataset" in each.parameters} <= set(DATASETS)


def test_the_scheduled_retention_deletes_nothing_until_it_is_told_how_many_to_keep() -> None:
    (retention,) = (each for each in read_configuration().deployments if each.flow.name == "retention")
    assert (retention.full_name, retention.parameters) == ("retention/store", {"keep": None})
    assert [schedule.parameters for schedule in retention.schedules] == [{}]


def test_schedules_train_anew_and_no_data_set_is_trained_twice_at_once() -> None:
    train_all = [each for each in read_configuration().deployments if each.flow.name == "train-all"]
    schedules = [schedule for each in train_all for schedule in each.schedules]
    assert schedules
    assert {schedule.parameters["seed"] for schedule in schedules} == {"fresh"}
    limits = [each.concurrency_limit for each in train_all]
    assert all(limit and (limit.limit, limit.collision_strategy) == (1, "ENQUEUE") for limit in limits)


def test_prefect_is_told_each_version_time_zone_and_new_schedule_that_is_to_be_paused(tmp_path: Path) -> None:
    told = copy.deepcopy(TOLD)
    cifar100, fashion_mnist = told["deployments"][:2]
    cifar100["schedules"][0]["timezone"] = "Asia/Tokyo"
    fashion_mnist["version"] = "7"
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(told))
    paused = {("train-all/fashion-mnist", "train-all-on-fashion-mnist-weekly"): False}
    completed = complete(read_configuration(file), "1a2b3c", "Europe/Berlin", paused)
    for each in told["deployments"]:
        each["version"] = each.get("version", "1a2b3c")
        for schedule in each.get("schedules", []):
            schedule.setdefault("timezone", "Europe/Berlin")
    fashion_mnist["schedules"][0]["active"] = False
    del told["definitions"]
    assert completed == told


def named(told: dict, name: str, flow: str) -> dict:
    """The deployment `name` of `flow`."""
    (found,) = (
        each for each in told["deployments"] if each["name"] == name and each["entrypoint"].endswith(f".{flow}")
    )
    return found


def change_top(told: dict) -> None:
    told["deployment"] = []


def change_deployment(told: dict) -> None:
    told["deployments"][0]["schedule"] = {"cron": "0 1 * * *"}


def change_schedule(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["time_zone"] = "UTC"


def change_cron(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["cron"] = "at night"


def change_cron_to_each_second(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["cron"] = "*/5 * * * * *"


def change_cron_to_a_day_that_never_comes(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["cron"] = "0 0 30 2 *"


def start_too_often_for_fresh_seeds(told: dict) -> None:
    told["deployments"][0]["schedules"].append({"cron": "*/15 * * * *", "slug": "often", "parameters": {"seed": 1}})
    told["deployments"][0]["schedules"].append({"cron": "1-31/2 7 * * *", "slug": "early", "parameters": {"seed": 2}})


def change_zone(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["timezone"] = "Mars/Phobos"


def change_pool(told: dict) -> None:
    told["deployments"][0]["work_pool"]["job_variables"] = {"command": "sh"}


def change_entrypoint(told: dict) -> None:
    told["deployments"][0]["entrypoint"] = "flows.train.train_most"


def change_module(told: dict) -> None:
    told["deployments"][0]["entrypoint"] = "flows.training.train_all"


def change_parameter(told: dict) -> None:
    told["deployments"][0]["parameters"]["epoch"] = 3


def change_value(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["parameters"]["seed"] = "new"


def change_choice(told: dict) -> None:
    told["deployments"][0]["parameters"]["dataset"] = "cifar10"


def change_count(told: dict) -> None:
    told["deployments"][0]["parameters"] |= {"models": ["resnet999"], "epochs": 0}


def change_recipe(told: dict) -> None:
    told["deployments"][0]["parameters"]["models"] = ["resnet999"]


def change_seed(told: dict) -> None:
    told["deployments"][0]["parameters"]["seed"] = -1


def change_override(told: dict) -> None:
    told["deployments"][0]["parameters"]["overrides"] = {"learning_rat": "0.1"}


def change_override_to_a_date(told: dict) -> None:
    told["deployments"][0]["parameters"]["overrides"] = {"learning_rate": date(2026, 1, 1)}


def change_number_to_text(told: dict) -> None:
    told["deployments"][0]["parameters"]["epochs"] = "3"


def change_rows(told: dict) -> None:
    named(told, "digits", "train_all")["parameters"]["limit"] = 3


def change_rows_of_a_schedule(told: dict) -> None:
    named(told, "digits", "train_all")["schedules"][0]["parameters"]["limit"] = 3


def change_rows_of_ingest(told: dict) -> None:
    named(told, "digits", "ingest")["parameters"]["limit"] = 3


def change_keep(told: dict) -> None:
    named(told, "store", "retention")["parameters"]["keep"] = 0


def change_any_model(told: dict) -> None:
    named(told, "cpu", "train_model")["parameters"] = {"overrides": {"learning_rat": "0.1"}}


def schedule_without_a_model(told: dict) -> None:
    named(told, "cpu", "train_model")["schedules"] = [{"cron": "0 1 * * *", "slug": "daily"}]


def change_tags(told: dict) -> None:
    told["deployments"][0]["tags"] = ["train"]


def change_slug(told: dict) -> None:
    told["deployments"][0]["schedules"][0]["slug"] = ""


def repeat_slug(told: dict) -> None:
    told["deployments"][0]["schedules"] *= 2


def change_limit(told: dict) -> None:
    told["deployments"][0]["concurrency_limit"]["limit"] = 0


def change_pool_name(told: dict) -> None:
    told["deployments"][0]["work_pool"]["name"] = ""


def change_name(told: dict) -> None:
    told["deployments"][0]["name"] = "a/b"


def repeat_deployment(told: dict) -> None:
    told["deployments"].append(told["deployments"][0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_top, "deployment: Extra inputs are not permitted"),
        (change_deployment, "schedule: Extra inputs are not permitted"),
        (change_schedule, "time_zone: Extra inputs are not permitted"),
        (change_cron, "at night"),
        (change_cron_to_each_second, "cron must have five fields; received '*/5 * * * * *'"),
        (change_cron_to_a_day_that_never_comes, "cron must name a time that comes; '0 0 30 2 *' never does"),
        (
            start_too_often_for_fresh_seeds,
            "train-all/cifar100: where a seed is fresh, all schedules of a deployment must have at most 100 starts a "
            "day; they have 113 on ",
        ),
        (change_zone, "Mars/Phobos"),
        (change_pool, "job_variables: Extra inputs are not permitted"),
        (change_entrypoint, "entrypoint must be module.flow; received flows.train.train_most"),
        (change_module, "entrypoint must be module.flow; received flows.training.train_all"),
        (change_parameter, "train-all/cifar100: the request is not valid: epoch: Extra inputs are not permitted; "),
        (change_value, "train-all/cifar100, schedule train-all-on-cifar100-weekly: the request is not valid: seed."),
        (change_choice, "train-all/cifar100: unknown dataset 'cifar10'; known: "),
        (change_count, "epochs: Input should be greater than or equal to 1; received 0"),
        (change_recipe, "train-all/cifar100: unknown recipe 'resnet999'; known: "),
        (change_seed, "train-all/cifar100: seed (--seed N) must be 'fresh' or from 0 to 4294967295; received -1"),
        (change_override, "train-all/cifar100: overrides (--set KEY=VALUE) must name fields of a recipe; rec"),
        (change_override_to_a_date, "parameters.overrides.dict.learning_rate: input was not a valid JSON value; "),
        (change_number_to_text, "train-all/cifar100: the request is not valid: epochs: Input should be a valid int"),
        (
            change_rows,
            "train-all/digits: limit (--limit N) must be at least 10, one row of each class of digits; received 3",
        ),
        (
            change_rows_of_a_schedule,
            "train-all/digits, schedule train-all-on-digits-daily: limit (--limit N) must be at least",
        ),
        (
            change_rows_of_ingest,
            "ingest/digits: limit (--limit N) must be at least 10, one row of each class of digits; ",
        ),
        (change_keep, "retention/store: the request is not valid: keep: Input should be greater than or equal to 1"),
        (change_any_model, "train-model/cpu: overrides (--set KEY=VALUE) must name fields of a recipe; rec"),
        (schedule_without_a_model, "train-model/cpu, schedule daily: the request is not valid: model: Field required"),
        (change_tags, f"must bear the tag {TAG}"),
        (change_slug, "schedules.0.slug: String should have at least 1 character"),
        (repeat_slug, "schedules must have a slug each of its own; "),
        (change_limit, "concurrency_limit.limit: Input should be greater than or equal to 1; received 0"),
        (change_pool_name, "work_pool.name: String should have at least 1 character"),
        (change_name, "name must be printable, not empty and without /; it is 'a/b'"),
        (repeat_deployment, "must name each deployment once; received train-all/cifar100 2 times"),
    ],
)
def test_what_prefect_would_pass_over_is_refused(change: Callable[[dict], None], says: str, tmp_path: Path) -> None:
    told = copy.deepcopy(TOLD)
    change(told)
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(told))
    with pytest.raises(PermanentError) as error:
        read_configuration(file)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_run_takes_is_accepted(tmp_path: Path) -> None:
    told = copy.deepcopy(TOLD)
    train_all, train_model = told["deployments"][0], named(told, "cpu", "train_model")
    train_all["parameters"] |= {"overrides": {"learning_rate": 0.1, "augmentation.flip": True}, "epochs": 3}
    train_all["schedules"][0]["cron"] = "@daily"
    train_model["parameters"] = {"dataset": "digits", "weights": "none", "overrides": {"backbone.image_px": 96}}
    train_model["schedules"] = [{"cron": "0 1 * * *", "slug": "daily", "parameters": {"model": "resnet50"}}]
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump(told))
    assert read_configuration(file).deployments[0].parameters == train_all["parameters"]


def test_a_flow_whose_parameters_cannot_be_checked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(REQUESTS, ingest.fn)
    with pytest.raises(PermanentError, match=r"must be a flow with @takes .*; received flows\.ingest\.ingest"):
        read_configuration()


def test_without_a_webhook_nobody_is_told_and_all_else_stands() -> None:
    train_all = {"digits": UUID(int=1)}
    silent, told = automations(train_all, 90, None), automations(train_all, 90, UUID(int=2))
    assert len(silent) == 5
    assert {each.name for each in told} - {each.name for each in silent} == {
        f"{TAG}: tell of {what}" for what in ("a run that crashes for good", "a failed run", "a report")
    }
    assert {tag for each in told for tag in each.tags} == {TAG}


def test_every_deployment_says_what_it_does() -> None:
    assert all(each.description for each in read_configuration().deployments)
