"""The kernel is compiled once a source; where it cannot be, that is said once, and typing works as well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from addon.warehouse import typed
from addon.warehouse.scan import library
from addon.warehouse.scan.compiler import SOURCES
from addon.warehouse.scan.library import Kernel, KernelError
from addon.warehouse.schema import TableSchema
from addon.warehouse.typed import Typer
from jobs.native.compiler import FLAGS, NOT_COMPILED, CompilerError, Sources, compiler
from jobs.native.library import SOURCES as ANALYSES
from jobs.native.library import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def needs_compiler() -> None:
    if compiler() is None:
        pytest.fail("no C compiler: `make setup-test` installs gcc, or names the line that does")


@pytest.fixture(params=[SOURCES, ANALYSES], ids=["scan", "analyses"])
def copied(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """A copy of the sources, compiled into an environment of its own."""
    folder = tmp_path / "source"
    shutil.copytree(request.param.folder, folder)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    return replace(request.param, folder=folder)


@pytest.fixture
def no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the scan kernel would be, in an environment that has none."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    return SOURCES.library_path()


@pytest.fixture
def fresh_kernel() -> Iterator[None]:
    library.kernel.cache_clear()
    yield
    library.kernel.cache_clear()


@pytest.mark.usefixtures("needs_compiler")
def test_a_changed_source_is_compiled_again_and_the_old_library_goes(copied: Sources) -> None:
    first = copied.build()
    assert first == copied.build() == copied.library_path()
    made = first.stat().st_mtime_ns
    assert copied.build().stat().st_mtime_ns == made
    source = next(copied.folder.glob("*.c"))
    source.write_text(source.read_text() + "/* changed */\n")
    assert copied.library_path() != first
    second = copied.build()
    assert list(first.parent.iterdir()) == [second]
    (Kernel if copied.name == "scan" else load)(second)


def test_without_a_compiler_the_command_says_what_to_do(
    copied: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert copied.command() == NOT_COMPILED
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{copied.what} was not compiled (no C compiler on PATH)" in said.err
    assert f"apt-get install gcc libc6-dev, then python -m {copied.module}" in said.err


def test_a_compiler_that_fails_leaves_nothing_behind(
    copied: Sources, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no such machine >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(CompilerError, match="no such machine"):
        copied.build()
    assert list(copied.library_path().parent.iterdir()) == []


@pytest.mark.usefixtures("no_kernel", "fresh_kernel")
def test_a_missing_kernel_is_told_once_and_rows_are_typed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typed, "scan_lines", None)  # not to be called
    with capture_logs() as logs:
        typers = [Typer(), Typer()]
    told = [entry for entry in logs if entry["event"] == library.SCAN_KERNEL_MISSING]
    assert [entry["do_next"] for entry in told] == [library.BUILD_IT]
    for typer in typers:
        found = typer.type_lines(pa.array(['{"i":1}']), pa.array([7]), TableSchema())
        assert found.table.to_pylist() == [{"time": 7, "i": 1, "_overflow": None}]
        typer.close()


@pytest.mark.usefixtures("fresh_kernel")
def test_a_library_that_is_none_is_told_as_broken(no_kernel: Path) -> None:
    no_kernel.parent.mkdir(parents=True)
    no_kernel.write_bytes(b"not a library")
    with capture_logs() as logs:
        assert library.kernel() is None
    assert [entry["event"] for entry in logs] == [library.SCAN_KERNEL_BROKEN]


@pytest.mark.usefixtures("needs_compiler")
def test_a_library_of_other_structures_is_refused(tmp_path: Path) -> None:
    text = (
        (SOURCES.folder / "scan.c")
        .read_text()
        .replace("*of_column = (int64_t)sizeof(column)", "*of_column = 8")
    )
    for name in ("numbers.h", "text.h"):
        shutil.copy(SOURCES.folder / name, tmp_path)
    (tmp_path / "scan.c").write_text(text)
    sources = [str(tmp_path / "scan.c"), str(SOURCES.folder / "frames.c")]
    argv = [str(compiler()), *FLAGS, "-o", str(tmp_path / "k.so"), *sources, "-lm"]
    subprocess.run(argv, check=True)
    with pytest.raises(KernelError, match="other structures"):
        Kernel(tmp_path / "k.so")
