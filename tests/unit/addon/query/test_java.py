"""Java is found where it is, shown to the sandbox, and missed with a clear word."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon.query.java import java_binds, java_home
from addon.query.worker import QueryFailed


def _java(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text("#!/bin/sh\n")
    (folder / "bin" / "java").chmod(0o755)
    return folder


def test_java_home_wins_over_the_path_and_links_are_followed(tmp_path: Path) -> None:
    first, second = _java(tmp_path / "first"), _java(tmp_path / "second")
    assert java_home({"JAVA_HOME": str(first), "PATH": str(second / "bin")}) == first
    links = tmp_path / "links"
    links.mkdir()
    (links / "java").symlink_to(second / "bin" / "java")
    assert java_home({"PATH": str(links)}) == second
    (bind,) = java_binds(second)
    assert (bind.source, bind.target, bind.writable) == (second, str(second), False)
    assert java_binds(Path("/usr/lib/jvm/java-17")) == []


@pytest.mark.parametrize("environment", [{"PATH": "/nowhere"}, {"JAVA_HOME": "/nowhere", "PATH": "/usr/bin"}])
def test_without_java_the_error_says_what_to_do(environment: dict[str, str]) -> None:
    with pytest.raises(QueryFailed, match="Install openjdk-17-jre-headless"):
        java_home(environment)
