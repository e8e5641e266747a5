"""A taken port is named before anything starts."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from addon.cli.failures import Exit, Failure
from addon.cli.ports import Ports, is_free, suggest_base

if TYPE_CHECKING:
    from pathlib import Path


def test_ten_ports_in_a_row() -> None:
    assert list(Ports(7080).named().values()) == list(range(7080, 7090))


def test_a_taken_port_is_named_with_what_would_use_it() -> None:
    base = suggest_base(21_000)
    with socket.create_server(("127.0.0.1", base + 2)):
        with pytest.raises(Failure, match=f"Port {base + 2} is in use: the router") as caught:
            Ports(base).require_free()
        assert caught.value.code is Exit.ERROR
        assert f"--port-base {suggest_base(base)}" in caught.value.do_next
    assert is_free(base + 2)


def test_a_base_without_room_for_ten_is_refused() -> None:
    with pytest.raises(Failure) as caught:
        Ports(65_527).require_free()
    assert caught.value.code is Exit.USAGE


def test_up_with_a_taken_port_ends_with_1_and_leaves_no_trace(tmp_path: Path) -> None:
    base, home = suggest_base(22_000), tmp_path / "home"
    with socket.create_server(("127.0.0.1", base + 4)):
        argv = [sys.executable, "-m", "addon.cli", "up", "--home", str(home), "--port-base", str(base)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Port {base + 4} is in use" in done.stderr
    assert "next: " in done.stderr
    assert done.stdout == ""
    assert not home.exists()
