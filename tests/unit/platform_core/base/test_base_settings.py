"""Settings from the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from platform_core.base.errors import InvalidInput
from platform_core.base.settings import load_settings


@dataclass(frozen=True)
class Example:
    name: str
    port: int = 1
    ratio: float = 0.5
    quiet: bool = False
    home: Path | None = None
    tags: tuple[str, ...] = field(default_factory=tuple)


def test_variables_are_read_by_prefix_and_type() -> None:
    environ = {
        "X_NAME": "n",
        "X_PORT": "7",
        "X_RATIO": "1.5",
        "X_QUIET": "Yes",
        "X_HOME": "/srv",
        "PORT": "9",
    }
    assert load_settings(Example, "X", environ) == Example("n", 7, 1.5, True, Path("/srv"))


def test_defaults_stay_and_overrides_win() -> None:
    assert load_settings(Example, "X", {"X_NAME": "a", "X_PORT": "7"}, name="b", home=None) == Example("b", 7)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"X_NAME is missing\. Set X_NAME"):
        load_settings(Example, "X", {})


@pytest.mark.parametrize(("name", "text"), [("X_PORT", "many"), ("X_RATIO", "x"), ("X_QUIET", "perhaps")])
def test_a_malformed_variable_is_named_and_its_value_is_not(name: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=name) as caught:
        load_settings(Example, "X", {"X_NAME": "a", name: text})
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("on", True), ("", False), ("OFF", False), ("0", False)]
)
def test_truth_has_several_spellings(text: str, value: bool) -> None:
    assert load_settings(Example, "X", {"X_NAME": "a", "X_QUIET": text}).quiet is value


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_NAME", "from outside")
    assert load_settings(Example, "X").name == "from outside"
