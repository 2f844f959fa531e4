"""Write the report, show it in the Prefect UI, and tell who listens."""

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from lib.lineage.manifests import Ref, load
from lib.reporting.report import build_report, leaderboard_table, report_markdown, report_summary, report_url
from tasks.announcing import announce, board_description, last_best
from tasks.settings import current_store

SHOWN = ("Model", "Validation accuracy", "Test accuracy", "Test loss", "Training time", "Note")
"""Best first, and as many columns as the Prefect UI shows at 1,280 px without cutting one off."""


@task(task_run_name="report on {dataset}", cache_policy=NO_CACHE)
def publish_report(
    dataset: str, prepared: Ref, evaluations: list[Ref], left_out: dict[str, str], started_by: str
) -> Ref:
    """Evaluations → index.html in the store, the same as Prefect artifacts, and an event that tells of it.

    `left_out` says of each model without a result why it has none.
    """
    store = current_store()
    report = build_report(store, prepared, evaluations, left_out, started_by)
    rows, url = leaderboard_table(store, report), report_url(store, report)
    shown = [{name: row[name] for name in SHOWN if any(each[name] for each in rows)} for row in rows]
    facts = load(store, report).facts
    last = last_best(dataset, facts)
    create_table_artifact(shown, key=f"leaderboard-{dataset}", description=board_description(facts))
    create_markdown_artifact(
        report_markdown(store, report), key=f"report-{dataset}", description=report_summary(store, report)
    )
    create_link_artifact(
        url,
        key=f"report-file-{dataset}",
        link_text="The report as one page",
        description=f"{store.uri}/{report.uri}; an S3 link is valid for a day; a new run makes a new one",
    )
    announce(store, report, last)
    return report
