"""Vendors' manifests: what is taken and what is refused."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from platform_core.addons.manifests import load_catalog, parse_manifest
from platform_core.base.errors import InvalidInput
from platform_core.models.missing import Missing

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {
    "id": "my-store",
    "name": "Store",
    "plans": [{"name": "small"}, {"name": "big", "default": True, "price_cents": 700}],
    "api": {
        "config_vars": ["MY_STORE_URL"],
        "password": "secret",
        "sso_salt": "salt",
        "production": {
            "base_url": "http://localhost:1/heroku/resources/",
            "sso_url": "https://s.example/sso",
        },
    },
}


def test_a_good_manifest_is_read() -> None:
    service = parse_manifest(GOOD)
    assert service.config_vars_prefix == "MY_STORE"
    assert service.default_plan.name == "big"
    assert service.base_url == "http://localhost:1/heroku/resources"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["id"], "My Store", "id must be"),
        (["api"], [], "api must be"),
        (["plans"], [], "plans must be"),
        (["plans"], [{"name": "a"}, {"name": "a"}], "different names"),
        (["plans"], [{"name": "a", "default": True}, {"name": "b", "default": True}], "one default"),
        (["api", "config_vars"], ["my_store_url"], "upper-case"),
        (["api", "config_vars"], ["OTHER_URL"], "prefixed MY_STORE_"),
        (["api", "config_vars"], ["MY_STORES_URL"], "prefixed MY_STORE_"),
        (["api", "password"], "", "password must be"),
        (["api", "regions"], ["tokyo"], "with us or"),
        (["api", "requires"], ["magic"], "api.requires"),
        (["api", "production", "base_url"], "http://vendor.example/x", "https"),
        (["api", "production", "sso_url"], "javascript:alert(1)", "https"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_key(path: list[str], value: Any, complaint: str) -> None:
    document = copy.deepcopy(GOOD)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInput, match=complaint):
        parse_manifest(document)


def test_the_folder_s_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(GOOD))
    assert [service.id for service in load_catalog(tmp_path).list()] == ["my-store"]
    (tmp_path / "worse.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"worse\.json"):
        load_catalog(tmp_path)


def test_two_manifests_with_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(GOOD))
    with pytest.raises(InvalidInput, match="the id my-store"):
        load_catalog(tmp_path)


def test_a_missing_folder_offers_nothing(tmp_path: Path) -> None:
    assert load_catalog(tmp_path / "none").list() == []


def test_an_unknown_plan_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(GOOD))
    catalog = load_catalog(tmp_path)
    assert catalog.find_plan("my-store")[1].name == "big"
    with pytest.raises(Missing, match=r"Couldn't find either the add-on.*my-store:small, my-store:big"):
        catalog.find_plan("my-store:huge")
