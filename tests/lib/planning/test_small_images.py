"""Images that are too small for a network are refused before anything starts."""

import pytest

from lib.data.datasets import DATASETS
from lib.errors import PermanentError
from lib.lineage.manifests import Ref
from lib.planning.plan import make_plan
from lib.planning.request import TrainingRequest


@pytest.mark.parametrize(("model", "least"), [("alexnet", 29), ("cifar-cnn", 16), ("digits-cnn", 8)])
@pytest.mark.parametrize("own", [False, True])
def test_images_too_small_for_a_network_are_refused_by_the_plan(
    model: str, least: int, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Ref(uri="images/digits/1", sha256="0" * 64) if own else None
    request = TrainingRequest(models=[model])

    def have(side: int) -> None:
        changed = {"image_shape": (side, side, 1), "images": images}
        monkeypatch.setitem(DATASETS, "digits", DATASETS["digits"].model_copy(update=changed))

    have(least)
    assert [recipe.name for recipe in make_plan(request).recipes] == [model]
    have(least - 1)
    with pytest.raises(PermanentError) as caught:
        make_plan(request)
    advice = f"ingest it with --from, --name and --px {least} or more, or " if own else ""
    assert str(caught.value) == (
        f"{model} needs images of at least {least} px; received digits with {least - 1} px; {advice}choose other "
        "models by --models"
    )
