"""The kernel is compiled once a source; where it cannot be, that is said once, and typing works as well."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from structlog.testing import capture_logs

from addon.warehouse import typed
from addon.warehouse.scan import __main__ as command
from addon.warehouse.scan import compiler, library
from addon.warehouse.scan.compiler import CompilerError, build, library_path
from addon.warehouse.scan.library import Kernel, KernelError
from addon.warehouse.schema import TableSchema
from addon.warehouse.typed import Typer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def needs_compiler() -> None:
    if compiler.compiler() is None:
        pytest.fail("no C compiler: `make setup-test` installs gcc, or names the line that does")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the source, compiled into an environment of its own."""
    folder = tmp_path / "source"
    shutil.copytree(compiler.SOURCE.parent, folder)
    monkeypatch.setattr(compiler, "SOURCE", folder / "scan.c")
    monkeypatch.setattr(compiler.sys, "prefix", str(tmp_path / "environment"))
    return folder / "scan.c"


@pytest.fixture
def fresh_kernel() -> Iterator[None]:
    library.kernel.cache_clear()
    yield
    library.kernel.cache_clear()


@pytest.mark.usefixtures("needs_compiler")
def test_a_changed_source_is_compiled_again_and_the_old_library_goes(source: Path) -> None:
    first = build()
    assert first == build() == library_path()
    made = first.stat().st_mtime_ns
    assert build().stat().st_mtime_ns == made
    source.write_text(source.read_text() + "/* changed */\n")
    assert library_path() != first
    second = build()
    assert list(first.parent.iterdir()) == [second]
    Kernel(second)


@pytest.mark.usefixtures("source")
def test_without_a_compiler_the_command_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main() == command.NO_KERNEL
    said = capsys.readouterr()
    assert said.out == ""
    assert "no C compiler on PATH" in said.err
    assert "apt-get install gcc libc6-dev" in said.err


@pytest.mark.usefixtures("source")
def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no such machine >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(CompilerError, match="no such machine"):
        build()
    assert list(library_path().parent.iterdir()) == []


@pytest.mark.usefixtures("source", "fresh_kernel")
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


@pytest.mark.usefixtures("source", "fresh_kernel")
def test_a_library_that_is_none_is_told_as_broken() -> None:
    library_path().parent.mkdir(parents=True)
    library_path().write_bytes(b"not a library")
    with capture_logs() as logs:
        assert library.kernel() is None
    assert [entry["event"] for entry in logs] == [library.SCAN_KERNEL_BROKEN]


@pytest.mark.usefixtures("needs_compiler")
def test_a_library_of_other_structures_is_refused(tmp_path: Path) -> None:
    text = compiler.SOURCE.read_text().replace("*of_column = (int64_t)sizeof(column)", "*of_column = 8")
    for name in ("numbers.h", "text.h"):
        shutil.copy(compiler.SOURCE.with_name(name), tmp_path)
    (tmp_path / "scan.c").write_text(text)
    sources = [str(tmp_path / "scan.c"), str(compiler.SOURCE.with_name("frames.c"))]
    argv = [str(compiler.compiler()), *compiler.FLAGS, "-o", str(tmp_path / "k.so"), *sources, "-lm"]
    subprocess.run(argv, check=True)
    with pytest.raises(KernelError, match="other structures"):
        Kernel(tmp_path / "k.so")
