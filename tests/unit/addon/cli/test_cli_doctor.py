"""`sluice doctor` says what is wrong and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from addon.cli import doctor as doctor_module
from addon.cli.certificates import ensure_certificates
from addon.cli.doctor import Verdict, doctor, installation
from addon.cli.failures import Exit
from addon.cli.home import Home, write_private
from addon.cli.ports import Ports
from addon.cli.recipe import Provider, recipe, to_shell
from jobs.native.compiler import Sources

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_home_that_others_may_read_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    home.root.chmod(0o755)
    assert doctor(home.root, as_json=True) is Exit.ERROR
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["home"]["verdict"] == "failed"
    assert checks["home"]["next"] == f"chmod go-rwx {home.root}"
    assert checks["python"]["verdict"] == "ok"


def test_a_missing_program_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    checks = {check.name: check for check in doctor_module.machine()}
    assert (checks["git"].verdict, checks["bubblewrap"].verdict) == (Verdict.FAILED, Verdict.WARNING)
    assert checks["git"].do_next == "apt-get install git"


def test_a_kernel_that_was_not_compiled_is_a_warning_with_the_line_that_compiles_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Sources, "library_path", lambda sources: tmp_path / f"{sources.name}.so")
    for name, file, module in (
        ("typing kernel", "scan.so", "addon.warehouse.scan"),
        ("analyses' kernel", "analyses.so", "jobs.native"),
    ):
        check = {check.name: check for check in doctor_module.machine()}[name]
        assert check.verdict is Verdict.WARNING
        assert check.do_next.endswith(f"-m {module}")
        (tmp_path / file).touch()
        check = {check.name: check for check in doctor_module.machine()}[name]
        assert (check.verdict, check.do_next) == (Verdict.OK, "")


def test_a_recipe_whose_server_is_gone_is_a_failure(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    files = ensure_certificates(home.tls)
    provider = Provider("u", "p", "s", "1/k")
    write_private(home.env_sh, to_shell(recipe(tmp_path, Ports(1), files.ca, "HRKU-1", provider)))
    checks = {check.name: check for check in installation(home)}
    assert checks["certificates"].verdict is Verdict.OK
    assert checks["SLUICE_API_URL"].verdict is Verdict.FAILED
    assert checks["SLUICE_API_URL"].do_next == "Start again with: sluice up"
