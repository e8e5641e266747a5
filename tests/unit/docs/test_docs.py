"""The documents tell the truth about what can be checked: commands, settings, paths, links, tests, parts."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import typer.main

from addon.cli.__main__ import app
from addon.cli.ports import Ports
from addon.cli.recipe import Provider, recipe
from addon.settings import Settings as AddonSettings
from jobs.registry import names
from platform_core.bootstrap import PlatformSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
HANDBOOK = "\n".join(page.read_text() for page in PAGES)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
NOT_SETTINGS = {"SLUICE_BUILD_SOCKET", "SLUICE_BUILD_TOKEN"}
"""Between the platform and its own git hook."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_PATH = re.compile(
    r"`((?:platform_core|addon|jobs|tests|docs|examples|requirements|notebooks)/[\w./*{},-]*)`"
)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def make_targets() -> dict[str, str]:
    lines = (ROOT / "Makefile").read_text().splitlines()
    found = (re.match(r"([a-z-]+):.*## (.+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def fenced(page: Path) -> list[str]:
    """Return the command lines in a page's shell blocks, continued lines joined, comments dropped."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = (part.strip() for line in lines for part in re.split(r"&&|\s#\s|\|", line))
    return [part for part in parts if part and not part.startswith("#")]


def test_every_make_target_is_in_the_documents() -> None:
    assert len(make_targets()) >= 7
    assert [target for target in make_targets() if f"make {target}" not in HANDBOOK] == []


def test_every_make_target_that_the_documents_name_exists() -> None:
    named = set(re.findall(r"(?:`|^|\s)make ([a-z-]+)\b(?=[^\n]*(?:`|#|$))", "\n".join(fenced(README))))
    named |= set(re.findall(r"`make ([a-z-]+)[`  ]", HANDBOOK))
    assert named - make_targets().keys() == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_documents(command: str) -> None:
    assert re.search(rf"\bsluice {command}\b", HANDBOOK)


@pytest.mark.parametrize(
    "line", dict.fromkeys(line for page in PAGES for line in fenced(page) if "sluice " in line)
)
def test_a_sluice_command_in_a_shell_block_exists_with_its_options(line: str) -> None:
    match = re.search(r"sluice ([a-z]+)(.*)", line)
    assert match, line
    assert match[1] in COMMANDS
    command = COMMANDS[match[1]]
    if hasattr(command, "commands"):  # a group, whose own commands have the options
        command = command.commands[match[2].split()[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", match[2].partition("$(")[0])) - options == set()


@pytest.mark.parametrize("line", [line for line in fenced(README) if line.startswith("heroku ")])
def test_a_heroku_command_in_the_readme_is_run_by_a_test_with_the_real_cli(line: str) -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "clients").glob("test_heroku_cli*.py"))
    assert f'"{line.split()[1]}"' in tests


@pytest.mark.parametrize("name", names())
def test_every_analysis_is_in_the_documents(name: str) -> None:
    assert f"`{name}`" in HANDBOOK


def documented_settings() -> dict[str, tuple[str, str]]:
    """Return variable -> (type, default) as the tables of settings.md have them."""
    text = (DOCS / "settings.md").read_text()
    rows = re.findall(r"^\| `(SLUICE_\w+)` \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)
    return {name: (kind.strip(), default.strip()) for name, kind, default in rows}


@pytest.mark.parametrize(
    ("prefix", "settings"), [("SLUICE_PLATFORM", PlatformSettings), ("SLUICE_ADDON", AddonSettings)]
)
def test_every_setting_is_documented_with_its_type_and_default(prefix: str, settings: type[Any]) -> None:
    hints, expected = get_type_hints(settings), {}
    for field in dataclasses.fields(settings):
        kind = next(
            name for name in ("Path", "int", "float", "bool", "str") if name in str(hints[field.name])
        )
        default = "required" if field.default is dataclasses.MISSING else f"`{field.default}`"
        default = "\u2013" if field.default in (None, "") else default
        kind = {"Path": "path", "str": "text"}.get(kind, kind)
        expected[f"{prefix}_{field.name}".upper()] = (kind, default)
    found = documented_settings()
    recipe_only = {name for name in recipe_variables() if name.startswith(prefix)}
    assert {
        name: found[name] for name in found if name.startswith(prefix) and name not in recipe_only
    } == expected


def recipe_variables() -> set[str]:
    return set(recipe(Path("/h"), Ports(7080), Path("/ca"), "key", Provider("u", "p", "s", "k")))


def test_every_variable_of_the_recipe_is_documented() -> None:
    text = (DOCS / "settings.md").read_text()
    assert {name for name in recipe_variables() if f"`{name}`" not in text} == set()


def test_every_variable_that_the_code_reads_is_documented() -> None:
    text = (DOCS / "settings.md").read_text()
    literal = re.compile(r"[\"']{1,3}(SLUICE_[A-Z_]+[A-Z])[\"'=]")
    read = {
        name
        for path in sources("platform_core", "addon", "jobs", "notebooks")
        for name in literal.findall(path.read_text())
    }
    prefixes = {"SLUICE_PLATFORM", "SLUICE_ADDON"}
    assert {name for name in read - prefixes - NOT_SETTINGS if f"`{name}`" not in text} == set()


def test_decisions_are_numbered_without_gaps_and_have_their_parts() -> None:
    files = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text()
        assert text.startswith(f"# {file.name[:4]} "), file
        for part in ("Status: ", "## Context", "## Decision", "## Consequences"):
            assert part in text, (file.name, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = [link.partition("#")[0] for link in LINK.findall(text) if not link.startswith(("http", "#"))]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = [path for path in CODE_PATH.findall(text) if "<" not in path]
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


def test_every_room_is_in_the_architecture() -> None:
    text = (DOCS / "ARCHITECTURE.md").read_text()
    rooms = {
        f"{program}/{path.parent.name}/"
        for program in ("platform_core", "addon", "jobs")
        for path in (ROOT / program).glob("*/__init__.py")
    }
    assert len(rooms) > 20
    assert {room for room in rooms if f"`{room}`" not in text} == set()


def test_every_failpoint_is_in_the_architecture() -> None:
    text = (DOCS / "ARCHITECTURE.md").read_text()
    points = {
        name
        for path in sources("platform_core", "addon", "jobs")
        for name in re.findall(r"failpoints\.(?:hit|armed)\(\"([\w.]+)\"\)", path.read_text())
    }
    assert points
    assert {point for point in points if f"`{point}`" not in text} == set()


def test_every_port_that_the_architecture_names_is_a_protocol() -> None:
    text = (DOCS / "ARCHITECTURE.md").read_text().partition("## Ports")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `([\w/.]+)` \|", text, re.MULTILINE)
    assert rows
    for listed, file in rows:
        code = (ROOT / file).read_text()
        for name in re.findall(r"\w+", listed):
            assert re.search(rf"class {name}\(.*Protocol\)", code), (name, file)


def test_every_client_test_is_in_the_compatibility_page() -> None:
    text = (DOCS / "compatibility.md").read_text()
    named = {path for glob in CODE_PATH.findall(text) for path in ROOT.glob(glob)}
    tests = set((ROOT / "tests" / "clients").glob("test_*.py"))
    assert {test.name for test in tests - named} == set()


def test_a_client_is_called_tested_only_with_a_test_beside_it() -> None:
    rows = [
        line.split(" | ") for line in (DOCS / "compatibility.md").read_text().splitlines() if " | " in line
    ]
    tested = [row for row in rows if len(row) >= 6 and row[2] in {"tested", "corpus"}]
    assert len(tested) >= 5
    assert [row[0] for row in tested if not CODE_PATH.search(row[4])] == []


def test_every_benchmark_is_in_the_benchmarks_page() -> None:
    text = (DOCS / "benchmarks.md").read_text()
    modules = {path.name for path in (ROOT / "tests" / "benchmarks").glob("bench_*.py")}
    assert {name for name in modules if f"`{name}`" not in text} == set()
    assert set(re.findall(r"`(bench_\w+\.py)`", text)) == modules


def test_every_command_in_a_python_m_line_is_one_of_ours() -> None:
    found = {match[1] for line in HANDBOOK.splitlines() for match in re.finditer(r"python -m ([\w.]+)", line)}
    programs = {"platform_core", "addon", "addon.warehouse.scan", "jobs", "jobs.native", "tests.benchmarks"}
    assert found <= programs


def test_no_page_names_a_path_of_somebodys_machine() -> None:
    done = subprocess.run(
        [
            "git",
            "grep",
            "-nE",
            r"(^|[^\w.])/(root|home/[a-z]+|work)/",
            "--",
            "*.md",
            "*.sh",
            "Makefile",
            "*.toml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
