"""Which parts of the host a sandboxed Python program needs."""

from __future__ import annotations

import sys
from pathlib import Path

from platform_core.base.sandbox.interpreter import python_binds, python_path


def test_binds_are_read_only_and_keep_their_paths() -> None:
    for bind in python_binds():
        assert bind.target == str(bind.source)
        assert not bind.writable


def test_no_bind_lies_in_another_or_in_the_system_s_tree() -> None:
    sources = [bind.source for bind in python_binds()]
    for one in sources:
        assert not one.is_relative_to("/usr")
        assert not any(one != other and one.is_relative_to(other) for other in sources)


def test_only_the_packages_of_the_checkout_are_shown() -> None:
    root = Path(python_path())
    assert (root / "platform_core" / "base" / "sandbox").is_dir()
    shown = {bind.source for bind in python_binds(["platform_core"])}
    assert root / "platform_core" in shown
    assert root not in shown
    assert root / "addon" not in shown


def test_the_interpreter_is_covered() -> None:
    real = Path(sys.executable).resolve()
    covered = [*(bind.source for bind in python_binds()), Path("/usr")]
    assert any(real.is_relative_to(folder) for folder in covered)
    assert any(Path(sys.executable).is_relative_to(folder) for folder in covered)
