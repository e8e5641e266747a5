"""The sandbox's /etc is made of what everybody may read and programs need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.sandbox.etc import build_etc

if TYPE_CHECKING:
    from pathlib import Path


def test_only_wanted_and_readable_parts_are_copied(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "ssl" / "certs").mkdir(parents=True)
    (etc / "ssl" / "private").mkdir()
    (etc / "java-17").mkdir()
    (etc / "java-17" / "security").write_text("x")
    for name in (
        "hosts",
        "shadow",
        "passwd",
        "group",
        "ssl/private/key.pem",
        "ssl/certs/a.pem",
        "ssl/certs/closed",
    ):
        (etc / name).write_text(f"host's {name}")
    (etc / "shadow").chmod(0o600)
    (etc / "ssl" / "certs" / "closed").chmod(0o600)
    (etc / "ssl" / "certs" / "b.pem").symlink_to("/usr/share/ca-certificates/b.pem")
    (etc / "localtime").symlink_to("hosts")
    made = tmp_path / "made"
    build_etc(made, etc)
    files = {str(path.relative_to(made)): path for path in made.rglob("*") if not path.is_dir()}
    expected = "hosts localtime passwd group resolv.conf ssl/certs/a.pem ssl/certs/b.pem java-17/security"
    assert set(files) == set(expected.split())
    assert files["passwd"].read_text() == files["group"].read_text() == ""
    assert files["hosts"].read_text() == files["localtime"].read_text() == "host's hosts"
    assert files["ssl/certs/b.pem"].is_symlink()
