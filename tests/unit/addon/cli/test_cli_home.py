"""The home folder keeps its secrets, and the recipe means the same to a shell and to us."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.cli.certificates import ensure_certificates
from addon.cli.failures import Exit, Failure
from addon.cli.home import Home, write_private
from addon.cli.ports import Ports
from addon.cli.recipe import Provider, from_shell, recipe, to_shell
from platform_core.base.ids import is_uuid

if TYPE_CHECKING:
    from pathlib import Path

PROVIDER = Provider("sluice", "it's a $ecret", "salt", "1/abc")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_enter(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home")
    home.prepare()
    key = home.owner_key()
    assert key.startswith("HRKU-")
    assert is_uuid(key.removeprefix("HRKU-"))
    assert home.owner_key() == key
    assert mode(home.root) == mode(home.tls) == mode(home.logs) == mode(home.manifests) == 0o700
    assert mode(home.owner_key_file) == 0o600


def test_a_home_that_cannot_be_made_is_a_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="Cannot use"):
        Home(tmp_path / "file" / "home").prepare()


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addon.cli.home.shutil.disk_usage", lambda _: SimpleNamespace(free=3 << 20))
    with pytest.raises(Failure, match="There is no room") as caught:
        Home(tmp_path / "home").prepare()
    assert "3 MiB are free" in caught.value.why


def test_a_home_belongs_to_one_up_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.held(), pytest.raises(Failure, match="is in use") as caught, home.held():
        pass
    assert f"process {os.getpid()}" in caught.value.why
    assert caught.value.code is Exit.CONFLICT
    with home.held():
        pass


def test_no_recipe_means_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        Home(tmp_path).recipe()
    assert caught.value.code is Exit.NOT_FOUND
    assert f"sluice up --home {tmp_path}" in caught.value.text()


def test_a_private_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_client_that_trusts_the_authority_trusts_localhost(tmp_path: Path) -> None:
    files = ensure_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as raw, server.wrap_socket(raw, server_side=True) as wrapped:
                wrapped.sendall(b"hello")

        thread = threading.Thread(target=serve)
        thread.start()
        client = ssl.create_default_context(cafile=files.ca)
        with (
            socket.create_connection(listener.getsockname()) as raw,
            client.wrap_socket(raw, server_hostname="localhost") as wrapped,
        ):
            assert wrapped.recv(5) == b"hello"
        thread.join()
    assert mode(files.key) == 0o600


def test_certificates_are_kept_while_they_fit_and_made_anew_when_not(tmp_path: Path) -> None:
    first = ensure_certificates(tmp_path).ca.read_bytes()
    assert ensure_certificates(tmp_path).ca.read_bytes() == first
    (tmp_path / "key.pem").write_text("garbage")
    assert ensure_certificates(tmp_path).ca.read_bytes() != first


def test_a_shell_and_we_read_the_same_recipe(tmp_path: Path) -> None:
    variables = recipe(tmp_path, Ports(7080), tmp_path / "my ca.pem", "HRKU-1", PROVIDER)
    text = to_shell(variables)
    env_sh = tmp_path / "env.sh"
    env_sh.write_text(text)
    done = subprocess.run(
        ["sh", "-c", '. "$1" && env -0', "sh", str(env_sh)],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
    assert {name: seen[name] for name in variables} == variables == from_shell(text)


def test_the_recipe_names_every_variable_that_clients_read(tmp_path: Path) -> None:
    variables = recipe(tmp_path, Ports(7080), tmp_path / "ca.pem", "HRKU-1", PROVIDER)
    assert variables["HEROKU_HOST"] == "http://localhost:7080"
    assert variables["HEROKU_GIT_HOST"] == "localhost:7081"
    assert variables["SLUICE_ROUTER_URL"] == "http://127.0.0.1:7082"
    assert variables["TD_API_SERVER"] == variables["TD_PRESTO_API"] == "http://127.0.0.1:7084"
    assert variables["DISABLE_TELEMETRY"] == "true"
    promised = (
        "HEROKU_API_KEY HEROKU_PARTICLEBOARD_URL HEROKU_DATA_HOST HEROKU_LOGIN_HOST NODE_EXTRA_CA_CERTS "
        "GIT_SSL_CAINFO TD_API_KEY TREASURE_DATA_API_SERVER TREASURE_DATA_API_KEY SLUICE_API_URL "
        "SLUICE_INGEST_URL SLUICE_TRINO_URL SLUICE_CONSOLE_URL SLUICE_PLATFORM_URL SLUICE_PLATFORM_TOKEN "
        "SLUICE_ADDON_URL SLUICE_ADDON_USER SLUICE_ADDON_PASSWORD SLUICE_SSO_SALT"
    )
    assert set(promised.split()) <= set(variables)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z_0-9]{0,9}", fullmatch=True),
        st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs", "Cc", "Zl", "Zp"])),
        max_size=5,
    )
)
def test_any_values_survive_the_recipe(variables: dict[str, str]) -> None:
    assert from_shell(to_shell(variables)) == variables
