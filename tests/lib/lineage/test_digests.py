"""Digests of content, whatever its length."""

import hashlib
import json

import pytest

from lib.lineage.digests import digest_json, digest_long_json

ITEM = ["0a", 'é\U0001f33b\u2028"', None, 1.5, {"b": [], "a": True}]


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1_000, 1_001, 2_500])
def test_a_list_that_comes_piece_by_piece_has_the_digest_of_the_whole(count: int) -> None:
    items = [[number, *ITEM] for number in range(count)]
    found = digest_long_json({"z": 1, "images": iter(items), "class_names": ["é", "b"], "empty": iter(())})
    whole = {"z": 1, "images": items, "class_names": ["é", "b"], "empty": []}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert found == digest_json(whole) == hashlib.sha256(text.encode()).hexdigest()


def test_an_object_without_members_is_one_too() -> None:
    assert digest_long_json({}) == digest_json({}) == hashlib.sha256(b"{}").hexdigest()
