"""Which model predicts."""

import pytest

from lib.errors import PermanentError
from lib.lineage.manifests import Ref, load
from lib.prediction.choice import model_to_use
from lib.registry.history import Evaluated, append, read_history
from lib.store import LocalStore


def test_the_named_one_or_the_champion_or_the_best_of_the_newest_report(trained: LocalStore, evaluation: Ref) -> None:
    model = load(trained, evaluation).inputs["model"]
    assert model_to_use(trained, "toy", model.uri) == model_to_use(trained, "toy", evaluation.uri) == evaluation
    other = Ref(uri="evaluations/toy/toy-softmax/0123456789abcdef", sha256="0" * 64)
    champion = Evaluated(model=model, evaluation=other)
    append(trained, read_history(trained, "toy"), "force", champion, "a test", reason="it is one")
    assert model_to_use(trained, "toy", None) == other
    assert model_to_use(trained, "toy", f"{trained.uri}/{model.uri}") == evaluation
    for named, said in (
        ("models/toy/toy-softmax/0", "nothing finished lies at models/toy/toy-softmax/0"),
        (load(trained, evaluation).inputs["prepared"].uri, r"received prepared/toy/\w+, a prepared"),
    ):
        with pytest.raises(PermanentError, match=said):
            model_to_use(trained, "toy", named)
    with pytest.raises(PermanentError, match=r"--model must name a model or its evaluation of digits; models/toy"):
        model_to_use(trained, "digits", model.uri)
