"""Identifiers and secrets."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.base import ids


def test_uuids_are_canonical_and_never_the_same() -> None:
    made = {ids.new_uuid() for _ in range(100)}
    assert len(made) == 100
    assert all(ids.is_uuid(one) for one in made)


def test_a_secret_has_the_asked_for_randomness() -> None:
    assert len(ids.new_secret()) == 64
    assert len(ids.new_secret(16)) == 32
    assert ids.new_secret() != ids.new_secret()


def test_a_fingerprint_is_sha_256() -> None:
    assert ids.fingerprint("1/abc") == hashlib.sha256(b"1/abc").hexdigest()


@given(st.text(), st.text())
@settings(deadline=None)
def test_secrets_are_the_same_only_when_equal(one: str, other: str) -> None:
    if any(0xD800 <= ord(char) <= 0xDFFF for char in one + other):
        return
    assert ids.same_secret(one, other) == (one == other)
    assert ids.same_secret(one, one)


@pytest.mark.parametrize(
    "text", ["", "x", "1234", "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}", "6ba7b8109dad11d180b400c04fd430c8"]
)
def test_other_forms_are_no_uuids(text: str) -> None:
    assert not ids.is_uuid(text)


def test_the_case_of_a_uuid_does_not_matter() -> None:
    assert ids.is_uuid("6BA7B810-9DAD-11D1-80B4-00C04FD430C8")
