from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from platform_core.base.archives import UnsafeMemberError, extract_member

if TYPE_CHECKING:
    from pathlib import Path


def make(*members: tarfile.TarInfo) -> tarfile.TarFile:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def file(name: str, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uid, member.gid = 3, mode, 12345, 12345
    return member


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


def unpack(target: Path, *members: tarfile.TarInfo, links_anywhere: bool = False) -> None:
    with make(*members) as archive:
        for member in archive:
            extract_member(archive, member, target, links_anywhere=links_anywhere)


def test_a_file_lands_inside_as_ours_without_dangerous_modes(tmp_path: Path) -> None:
    unpack(tmp_path, file("a/b", 0o6777))
    status = (tmp_path / "a" / "b").stat()
    assert status.st_mode & 0o7777 == 0o755
    assert status.st_uid == os.geteuid()


def test_an_absolute_name_lands_below_the_target(tmp_path: Path) -> None:
    unpack(tmp_path, file("/etc/x"))
    assert (tmp_path / "etc" / "x").read_bytes() == b"xxx"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a/b/../../../x"])
def test_a_name_that_climbs_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeMemberError, match="outside"):
        unpack(tmp_path / "in", file(name))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "member",
    [link("l", "/etc/passwd"), link("l", "../x"), link("h", "../x", tarfile.LNKTYPE)],
    ids=["absolute link", "climbing link", "climbing hard link"],
)
def test_a_link_that_leads_out_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    with pytest.raises(UnsafeMemberError, match="outside"):
        unpack(tmp_path, member)


def test_nothing_is_written_through_a_link_that_was_let_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UnsafeMemberError, match="outside"):
        unpack(tmp_path / "in", link("l", "../out"), file("l/x"), links_anywhere=True)
    assert (tmp_path / "in" / "l").is_symlink()
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_and_pipes_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(UnsafeMemberError, match="device or a pipe"):
        unpack(tmp_path, link("d", "", kind))
