"""Pages made of templates: how they are rendered, and how a time is written on them."""

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from lib.data.datasets import readable
from lib.evaluation.card import plain
from lib.reporting.leaderboard import bounds, cell, shown
from lib.reporting.wording import calibration, change, duration, interval, percent, probability

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """The page that `template` makes of `values`, which are escaped in HTML. Raises UndefinedError where one lacks."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "shown": shown,
        "cell": cell,
        "bounds": bounds,
        "interval": interval,
        "calibration": calibration,
        "duration": duration,
        "moment": moment,
        "plain": plain,
        "percent": percent,
        "change": change,
        "probability": probability,
        "readable": readable,
        "compact": _compact,
    }
    return templates.get_template(template).render(**values)


def moment(at: datetime) -> str:
    """`26 November 2026, 21:04 UTC`, of a time in UTC."""
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _compact(value: Any) -> Markup:
    """JSON without spaces, with nothing in it that would end a script."""
    return htmlsafe_json_dumps(value, separators=(",", ":"))
