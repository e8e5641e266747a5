"""The error tree: messages, hints, and the transient axis."""

from __future__ import annotations

import pytest

from platform_core.base import errors


def test_the_message_defaults_to_what_the_class_says() -> None:
    assert str(errors.OutOfSpace()) == "The disk is full; nothing was acknowledged."


def test_the_hint_follows_the_message() -> None:
    error = errors.InvalidInput("The port is 0.", hint="Give a port from 1 to 65535.")
    assert (error.message, error.hint) == ("The port is 0.", "Give a port from 1 to 65535.")
    assert str(error) == "The port is 0. Give a port from 1 to 65535."


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.OutOfSpace])
def test_what_is_ours_to_mend_is_transient(kind: type[errors.SluiceError]) -> None:
    assert kind().transient


def test_what_the_caller_must_mend_is_not() -> None:
    kinds = errors.UserError.__subclasses__()
    assert {kind.__name__ for kind in kinds} >= {"InvalidInput", "NotFound", "Conflict", "TooLarge"}
    assert not any(kind().transient for kind in kinds)
