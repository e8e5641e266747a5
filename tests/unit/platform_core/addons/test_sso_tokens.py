"""Single sign-on: the tokens vendors check, and our own tickets."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.addons.sso import TICKET_SECONDS, Ticket, new_ticket, seal, sso_form, unseal
from platform_core.base.errors import Forbidden
from platform_core.models.addons import AddOn, AddOnState, Plan, Service
from platform_core.models.apps import Account


def _service(salt: str) -> Service:
    return Service(
        id="store", human_name="Store", docs_url=None, plans=[Plan("small", "Small", "", 0)], config_vars=[],
        config_vars_prefix="STORE", requires=frozenset(), base_url="https://s", sso_url="https://s/sso",
        password="p", sso_salt=salt, client_secret="",
    )  # fmt: skip


def _addon(provider_id: str) -> AddOn:
    return AddOn(
        id="a8f0", name="store-1", app_id="1", app_name="shop", service="store", plan="small",
        state=AddOnState.PROVISIONED, provider_id=provider_id, config={}, config_prefix="STORE", message=None,
        log_drain_url=None, log_drain_token=None, options={}, created_at=0.0, updated_at=0.0,
    )  # fmt: skip


def test_the_first_version_token_is_heroku_s_published_example() -> None:
    service = _service("2f97bfa52ca102f8874716e2eb1d3b4920ad0be4")
    form = sso_form(service, _addon("123"), Account("u", "u@x", "u"), "shop", 1267597772.9)
    assert form["token"] == "bb466eb1d6bc345d11072c3cd25c311f21be130d"
    assert form["timestamp"] == "1267597772"


def test_the_other_tokens_are_made_of_the_resource_and_the_user() -> None:
    form = sso_form(_service("salt"), _addon("123"), Account("u1", "u@x", "u"), "shop", 100.0)
    assert form["resource_token"] == hashlib.sha1(b"a8f0:salt:100", usedforsecurity=False).hexdigest()
    assert form["user_scoped_resource_token"] == hashlib.sha256(b"a8f0:salt:100:u1:u@x").hexdigest()
    assert form.keys() == {
        "resource_id", "resource_token", "user_scoped_resource_token", "user_id", "email", "timestamp",
        "nav-data", "app", "context_app", "id", "token",
    }  # fmt: skip


def test_a_ticket_comes_back_as_it_was_until_it_is_too_old() -> None:
    ticket = new_ticket("a", "u", "shop", 100.0)
    assert unseal(seal(ticket, "key"), "key", 100.0 + TICKET_SECONDS - 1) == ticket
    with pytest.raises(Forbidden, match="not valid"):
        unseal(seal(ticket, "key"), "key", 100.0 + TICKET_SECONDS)


def test_a_ticket_sealed_with_another_key_is_refused() -> None:
    with pytest.raises(Forbidden):
        unseal(seal(new_ticket("a", "u", "shop", 100.0), "other"), "key", 100.0)


@given(st.text(max_size=200))
def test_arbitrary_text_is_never_a_ticket(text: str) -> None:
    with pytest.raises(Forbidden):
        unseal(text, "key", 0.0)


@given(st.data())
def test_a_changed_ticket_is_refused(data: st.DataObject) -> None:
    text = seal(Ticket("a", "u", "shop", "0" * 32, 100.0 + TICKET_SECONDS), "key")
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in "0aZ_." if c != text[place]]))
    with pytest.raises(Forbidden):
        unseal(text[:place] + other + text[place + 1 :], "key", 100.0)
