"""What a sandbox leaves is taken for what it is: files, never a way to others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from addon.query.analysis import check_plain
from addon.query.worker import QueryFailed

if TYPE_CHECKING:
    from pathlib import Path


def test_files_pass_and_links_pipes_and_folders_do_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    check_plain(out)
    link = tmp_path / "link"
    link.symlink_to(out)
    with pytest.raises(QueryFailed):
        check_plain(link)
    made = out / "x.parquet"
    for make in (lambda: made.symlink_to("/etc/passwd"), lambda: os.mkfifo(made), made.mkdir):
        make()
        with pytest.raises(QueryFailed):
            check_plain(out)
        made.rmdir() if made.is_dir() and not made.is_symlink() else made.unlink()
    check_plain(out)
