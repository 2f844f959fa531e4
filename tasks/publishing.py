"""Write the report, and show it in the Prefect UI."""

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from lib.manifests import Ref
from lib.reporting.report import build_report, leaderboard_table, report_markdown
from tasks.storage import settings_store


@task(task_run_name="report on {dataset}", cache_policy=NO_CACHE)
def publish_report(dataset: str, prepared: Ref, evaluations: list[Ref]) -> Ref:
    """Evaluations → index.html in the store, and the same as Prefect artifacts."""
    store = settings_store()
    report = build_report(store, prepared, evaluations)
    create_table_artifact(leaderboard_table(store, report), key=f"leaderboard-{dataset}", description="Leaderboard")
    create_markdown_artifact(report_markdown(store, report), key=f"report-{dataset}", description=report.uri)
    return report
