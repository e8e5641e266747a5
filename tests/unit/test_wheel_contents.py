"""The wheel holds every file of the three packages that git holds, and nothing else."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform_core", "addon", "jobs")
RUN_TIME_FILES = {
    "platform_core/build/hook.py": "the build room, which ignore rules for build output must not hide",
    "platform_core/store/migrations/versions/0001_the_first_schema.py": "the platform's migrations",
    "platform_core/store/migrations/script.py.mako": "the template of a migration",
    "addon/store/migrations/versions/0001_first.py": "the add-on's migrations",
    "addon/warehouse/scan/scan.c": "the source of the typing kernel, to be compiled where it runs",
    "addon/warehouse/scan/frames.c": "its parts",
    "addon/warehouse/scan/numbers.h": "likewise",
    "addon/api/templates/account.html": "the page behind single sign-on",
    "jobs/native/funnel.c": "the source of the analyses' kernel, likewise",
    "jobs/sql/attribution.sql": "the analyses' SQL",
    "jobs/analyses/data/channel_sources.csv": "their tables",
    "jobs/report/templates/report.html.j2": "the report",
    "jobs/engines/spark_conf/log4j2.properties": "Spark's own settings",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def tracked() -> AbstractSet[str]:
    """The files of the packages that are in git and on disk."""
    done = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"not a git checkout: {done.stderr}")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def test_every_tracked_file_of_the_packages_is_in_the_wheel(
    wheel: zipfile.ZipFile, tracked: AbstractSet[str]
) -> None:
    assert tracked - set(wheel.namelist()) == set()


def imported_modules(source: bytes) -> set[str]:
    """Return the modules that a source imports absolutely."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def test_every_module_of_ours_that_a_fresh_clone_imports_is_in_it() -> None:
    archive = subprocess.run(
        ["git", "archive", "--format=zip", "HEAD", *PACKAGES], cwd=ROOT, capture_output=True, check=True
    )
    clone = zipfile.ZipFile(io.BytesIO(archive.stdout))
    sources = [name for name in clone.namelist() if name.endswith(".py")]
    modules = {name.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for name in sources}
    missing = {
        f"{name} imports {module}"
        for name in sources
        for module in imported_modules(clone.read(name))
        if module.partition(".")[0] in PACKAGES and module not in modules
    }
    assert missing == set(), "HEAD lacks files that its own code imports: git add them"


def test_nothing_beside_the_packages_and_the_metadata_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    (metadata,) = tops - set(PACKAGES)
    assert metadata.endswith(".dist-info")
    assert not [name for name in wheel.namelist() if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize(("name", "why"), RUN_TIME_FILES.items())
def test_what_is_read_at_run_time_is_in_the_wheel(wheel: zipfile.ZipFile, name: str, why: str) -> None:
    assert name in wheel.namelist(), why


def test_the_wheel_installs_the_command_and_asks_for_what_run_in_names(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    asked = {
        line.removeprefix("Requires-Dist: ")
        for line in text.splitlines()
        if line.startswith("Requires-Dist") and "extra ==" not in line
    }
    lines = (ROOT / "requirements" / "run.in").read_text().splitlines()
    assert asked == {line for line in lines if line and not line.startswith("#")}
    scripts = wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "sluice = addon.cli.__main__:main" in scripts
