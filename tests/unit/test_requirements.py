"""What the packages import is what run.in names; the locks hold no addresses."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
PACKAGES = ("platform_core", "addon", "jobs")
FOR_TYPES_ONLY = {"_typeshed"}


def plain(line: str) -> str:
    """Return the distribution's name of a line, without extras and versions."""
    name = re.match(r"[\w.-]+", line)
    assert name is not None, line
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def named() -> tuple[set[str], set[str]]:
    """Return what run.in names because we import it, and what it names for others' sake."""
    first, _, second = (FOLDER / "run.in").read_text().partition("\n# Imported by others")
    return tuple(
        {plain(line) for line in part.splitlines()[1:] if line and not line.startswith("#")}
        for part in (first, second)
    )  # type: ignore[return-value]


def imported() -> set[str]:
    """Return the distributions of all modules that our code imports."""
    modules = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.partition(".")[0])
    foreign = modules - sys.stdlib_module_names - set(PACKAGES) - FOR_TYPES_ONLY
    owners = importlib.metadata.packages_distributions()
    return {plain(owners[module][0]) if module in owners else f"unknown: {module}" for module in foreign}


def test_run_in_names_what_the_packages_import() -> None:
    ours, for_others = named()
    assert imported() - for_others == ours


@pytest.mark.parametrize("name", ["run", "dev", "bench", "node", "connect"])
def test_a_lock_holds_all_that_its_source_names_with_hashes_and_without_addresses(name: str) -> None:
    lines = (FOLDER / f"{name}.in").read_text().splitlines()
    asked = {plain(line) for line in lines if line and not line.startswith(("#", "-"))}
    lock = (FOLDER / f"{name}.txt").read_text()
    pinned = {plain(found) for found in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    assert asked <= pinned
    assert "://" not in lock
    assert "--index" not in lock
    blocks = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_of_the_node_clients_holds_no_addresses() -> None:
    assert '"resolved"' not in (ROOT / "tests" / "clients" / "package-lock.json").read_text()
