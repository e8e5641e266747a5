"""Unpacking slugs that somebody else's build made."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from platform_core.base.errors import InvalidInput, Unavailable
from platform_core.dynos import slugs
from platform_core.dynos.slugs import SlugCache, unpack

from .conftest import UID, make_slug

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return io.BytesIO(zstandard.compress(plain.getvalue()))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


def test_a_link_to_the_system_s_interpreter_is_kept(tmp_path: Path) -> None:
    unpack(archive((entry("bin/python", tarfile.SYMTYPE, "/usr/bin/python3"), b"")), tmp_path)
    assert str((tmp_path / "bin" / "python").readlink()) == "/usr/bin/python3"


@pytest.mark.parametrize(
    "members",
    [
        [(entry("../outside"), b"x")],
        [(entry("a", tarfile.SYMTYPE, "/etc"), b""), (entry("a/passwd"), b"x")],
        [(entry("a", tarfile.SYMTYPE, ".."), b""), (entry("a/outside"), b"x")],
        [(entry("hard", tarfile.LNKTYPE, "../../etc/passwd"), b"")],
        [(entry("device", tarfile.CHRTYPE), b"")],
    ],
    ids=["dots", "through-a-link", "through-a-relative-link", "hard-link", "device"],
)
def test_nothing_lands_outside(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    with pytest.raises((tarfile.TarError, OSError, KeyError)):
        unpack(archive(*members), target)
    assert [path.name for path in tmp_path.rglob("*") if path.name in {"outside", "device", "hard"}] == []


def test_an_absolute_name_is_taken_as_relative(tmp_path: Path) -> None:
    unpack(archive((entry("/etc/passwd"), b"x")), tmp_path)
    assert (tmp_path / "etc" / "passwd").read_bytes() == b"x"


def test_setuid_is_dropped(tmp_path: Path) -> None:
    unpack(archive((entry("su", mode=0o4755), b"x")), tmp_path)
    assert (tmp_path / "su").stat().st_mode & 0o7777 == 0o755


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slugs, "MAX_BYTES", 1000)
    with pytest.raises(InvalidInput, match="more than"):
        unpack(archive((entry("big"), b"\0" * 1001)), tmp_path)
    assert not (tmp_path / "big").exists()


async def test_a_checkout_is_a_private_copy_owned_by_the_app(tmp_path: Path) -> None:
    cache = SlugCache(tmp_path / "dynos")
    slug = make_slug(tmp_path / "slug", {"bin/run": "x"})
    one, two = [await cache.checkout("a" * 64, slug, name, UID) for name in ("one", "two")]
    (one / "bin" / "run").write_text("changed")
    assert (two / "bin" / "run").read_text() == "x"
    expected = UID if os.geteuid() == 0 else os.getuid()
    assert {path.stat().st_uid for path in (two, *two.rglob("*"))} == {expected}
    await cache.discard(one)
    assert not one.exists()


async def test_a_slug_is_unpacked_once(tmp_path: Path) -> None:
    cache = SlugCache(tmp_path / "dynos")
    slug = make_slug(tmp_path / "slug", {"file": "x"})
    await cache.checkout("a" * 64, slug, "one", UID)
    slug.unlink()
    assert (await cache.checkout("a" * 64, slug, "two", UID) / "file").is_file()
    await cache.forget(keep=set())
    with pytest.raises(Unavailable, match="No such file"):
        await cache.checkout("a" * 64, slug, "three", UID)


async def test_a_broken_slug_leaves_nothing(tmp_path: Path) -> None:
    cache = SlugCache(tmp_path / "dynos")
    (tmp_path / "slug").write_bytes(b"not zstd")
    with pytest.raises(Unavailable, match="cannot be unpacked"):
        await cache.checkout("a" * 64, tmp_path / "slug", "one", UID)
    assert [path for path in (tmp_path / "dynos").rglob("*") if path.name not in {"slugs", "dynos"}] == []


async def test_what_a_program_locked_is_removed_too(tmp_path: Path) -> None:
    cache = SlugCache(tmp_path / "dynos")
    folder = await cache.checkout("a" * 64, make_slug(tmp_path / "slug", {"d/file": "x"}), "one", UID)
    (folder / "d").chmod(0)
    await cache.discard(folder)
    assert not folder.exists()


async def test_what_an_earlier_run_left_is_removed_at_the_start(tmp_path: Path) -> None:
    left = tmp_path / "dynos" / "dynos" / "old"
    left.mkdir(parents=True)
    SlugCache(tmp_path / "dynos")
    assert not left.exists()
