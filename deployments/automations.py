"""What the server does by itself: `make deploy` applies it. All bear our TAG."""

from datetime import timedelta
from uuid import UUID

from prefect.automations import (
    AutomationCore,
    CallWebhook,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    ResourceSpecification,
    RunDeployment,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes

from tasks.announcing import REPORT_PUBLISHED
from tasks.ingestion import DATASET_UPDATED

TAG = "image-training-flows"
RERUNS, RERUN_AFTER_S = 3, 15.0
WILL_RUN_AGAIN = "WillRunAgain"

ANY_RUN = "prefect.flow-run.*"
LONGEST_RUN = timedelta(days=30)
CRASHED, FAILED, HEARTBEAT, RUNNING, CRASH_NOTED = (
    f"prefect.flow-run.{name}" for name in ("Crashed", "Failed", "heartbeat", "Running", WILL_RUN_AGAIN)
)
TAKEN = {f"prefect.flow-run.{name}" for name in ("Pending", "Submitting", "InfrastructurePending")}
"""What a worker says of a run before it begins."""
ANYTHING = {"prefect.flow-run.*"}
RUN_COUNT = "prefect.run-count"
RERUN = [str(count) for count in range(1, RERUNS + 1)]
MOVED_ON = {
    CRASHED, CRASH_NOTED, RUNNING, FAILED, *TAKEN,
    *(f"prefect.flow-run.{name}" for name in ("AwaitingRetry", "Scheduled", "Late", "Completed", "Cancelled")),
}  # fmt: skip
"""What follows a crash where something is done about it. Heartbeats are not: a process that was given up may live."""
ALERT_AFTER_S = 60.0

RUN_ENDED = """{
    "text": {{ (flow_run.name ~ ": " ~ flow_run.state.name ~ ": " ~ flow_run.state.message) | tojson }},
    "url": {{ flow_run | ui_url | tojson }}
}"""
# A report in a folder has no address that others can open: its run has.
REPORTED = """{
    "text": {{ ("report on " ~ event.payload.dataset ~ ": best is " ~ event.payload.best) | tojson }},
    "url": {{ (event.payload.url or (flow_run | ui_url)) | tojson }}
}"""


def automations(train_all: dict[str, UUID], lost_after_s: float, webhook: UUID | None) -> list[AutomationCore]:
    """All of them: `train_all` names each dataset's deployment, `webhook` is the block that is told, if any.

    `lost_after_s` should be more than 300. Of two changes of a run's state that are less than 300 s apart, Prefect acts
    on the second only when it has seen the first; a server that has started anew has not, and waits 15 minutes for it.
    """
    told = _notifications(CallWebhook(block_document_id=webhook)) if webhook else []
    return [*_survival(lost_after_s), *told, *(_retrained(dataset, where) for dataset, where in train_all.items())]


def _survival(lost_after_s: float) -> list[AutomationCore]:
    return [
        _automation(
            "a silent run has crashed",
            f"A run that says nothing for {lost_after_s:.0f} s, because its machine is gone, say, is marked Crashed.",
            _silence({HEARTBEAT}, lost_after_s),
            ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=f"silent for {lost_after_s:.0f} s"),
        ),
        _automation(
            "a run that does not start is scheduled again",
            f"A worker took it and ended before it began, {lost_after_s:.0f} s ago.",
            _silence(TAKEN, lost_after_s),
            ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message="its worker did not start it"),
        ),
        _automation(
            "a crashed run will run again",
            f"At most {RERUNS} times, each after it had begun.",
            _on(CRASHED, RERUN, after=RUNNING),
            ChangeFlowRunState(state=StateType.CRASHED, name=WILL_RUN_AGAIN, message="it crashed", force=True),
        ),
        _automation(
            "a crashed run runs again",
            f"{RERUN_AFTER_S:.0f} s later, from its last checkpoint.",
            # Prefect's worker says twice that a run has crashed, a second or so apart, and the second time would take
            # back that it is scheduled again. What is crashed already, under whatever name, it leaves alone.
            _silence({CRASH_NOTED}, RERUN_AFTER_S, MOVED_ON),
            ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message="it crashed, and runs again"),
        ),
    ]


def _notifications(call: CallWebhook) -> list[AutomationCore]:
    run_ended = call.model_copy(update={"payload": RUN_ENDED})
    return [
        _automation(
            "tell of a run that crashes for good",
            f"It could not begin, or {RERUNS} new tries did not help: nothing followed for {ALERT_AFTER_S:.0f} s.",
            _silence({CRASHED, CRASH_NOTED}, ALERT_AFTER_S, MOVED_ON),
            run_ended,
        ),
        _automation("tell of a failed run", "With a link to it.", _on(FAILED), run_ended),
        _automation(
            "tell of a report",
            "With a link to it.",
            EventTrigger(expect={REPORT_PUBLISHED}, posture=Posture.Reactive),
            call.model_copy(update={"payload": REPORTED}),
        ),
    ]


def _retrained(dataset: str, train_all: UUID) -> AutomationCore:
    return _automation(
        f"train all on a new {dataset}",
        "When an ingest has committed a new version.",
        EventTrigger(
            expect={DATASET_UPDATED},
            match=ResourceSpecification({"prefect.resource.id": f"dataset.{dataset}"}),
            posture=Posture.Reactive,
        ),
        RunDeployment(deployment_id=train_all),
    )


def _silence(after: set[str], lasts_s: float, until: set[str] = ANYTHING) -> EventTrigger:
    return EventTrigger(
        after=after,
        expect=until,
        match=ResourceSpecification({"prefect.resource.id": ANY_RUN}),
        match_related=_of_ours(),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        within=timedelta(seconds=lasts_s),
    )


def _on(event: str, run_counts: list[str] | None = None, after: str | None = None) -> EventTrigger:
    """On each `event` of our runs; with `after`, on the first one that follows it.

    A run is counted as it begins. One that cannot begin, because its code does not import, say, would be run again for
    ever if each crash counted.
    """
    match: dict[str, str | list[str]] = {"prefect.resource.id": ANY_RUN}
    if run_counts:
        match[RUN_COUNT] = run_counts
    return EventTrigger(
        after={after} if after else set(),
        expect={event},
        match=ResourceSpecification(match),
        match_related=_of_ours(),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        within=LONGEST_RUN if after else timedelta(0),
    )


def _of_ours() -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"})


def _automation(name: str, description: str, trigger: EventTrigger, action: ActionTypes) -> AutomationCore:
    return AutomationCore(name=f"{TAG}: {name}", description=description, tags=[TAG], trigger=trigger, actions=[action])
