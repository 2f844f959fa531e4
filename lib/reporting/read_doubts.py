"""Reads what a report doubts of its data from the store, and draws it."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib.evaluation.comparing import HELD_OUT
from lib.lineage.manifests import Manifest, Ref, load
from lib.reporting.doubts import NEAR_DUPLICATES, SUSPECTED_LABELS, Doubts, duplicates_of, names_of_doubts
from lib.reporting.duplicates import draw_pairs, duplicates_section
from lib.reporting.makers import why_lacking
from lib.reporting.sections import Art, address
from lib.reporting.suspected_labels import draw_suspects, labels_section
from lib.store import Store


def doubts_of(
    store: Store,
    evaluations: Mapping[str, Manifest],
    beside: Sequence[Ref],
    art: Art,
    made_by: Mapping[str, Any],
    show_test: bool,
) -> Doubts:
    """Of these models by name, the best first; `made_by` may say why no near duplicates are `beside` them.

    What models do on test is looked at where `show_test` says so.
    """
    splits = _splits(show_test)
    duplicates = duplicates_of(beside)
    pictures = {name: art.pictures[name] for name in names_of_doubts(evaluations, beside)}
    return Doubts(
        duplicates=duplicates_section(store, duplicates, evaluations, splits, pictures[NEAR_DUPLICATES])
        if duplicates
        else None,
        why_no_duplicates=why_lacking(made_by, "duplicates"),
        labels=next(
            (
                labels_section(store, each, name, splits, pictures[SUSPECTED_LABELS])
                for name, each in evaluations.items()
            ),
            None,
        ),
        pictures={name: address(picture) for name, picture in pictures.items()},
    )


def draw_doubts(
    store: Store, evaluations: Mapping[str, Manifest], beside: Sequence[Ref], show_test: bool
) -> dict[str, bytes]:
    """The pictures of `names_of_doubts`; of models, the best is the first."""
    drawn, duplicates = dict[str, bytes](), duplicates_of(beside)
    if duplicates:
        drawn[NEAR_DUPLICATES] = draw_pairs(store, load(store, duplicates))
    for evaluation in [*evaluations.values()][:1]:
        drawn[SUSPECTED_LABELS] = draw_suspects(store, evaluation, _splits(show_test))
    return drawn


def _splits(show_test: bool) -> tuple[str, ...]:
    """Those on which models are looked at."""
    return HELD_OUT if show_test else HELD_OUT[:1]
