"""The real fluent-logger, from PyPI and from npm, against the forward receiver."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fluent import handler, sender

from tests.clients.receiver_addon import ReceiverAddon, receiver_addon

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
COUNT = 300


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverAddon]:
    with receiver_addon(tmp_path_factory.mktemp("forward")) as running:
        yield running


def node(label: str, count: int, **options: Any) -> subprocess.CompletedProcess[str]:
    request = {"tag": "td", "label": label, "count": count, "options": {"host": "127.0.0.1", **options}}
    environment = {**os.environ, "NODE_PATH": str(HERE / "node_modules")}
    argv = ["node", str(HERE / "fluent_node.js"), json.dumps(request)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)


# PyPI


def test_the_python_logger_sends_events_to_the_table_of_their_tag(addon: ReceiverAddon) -> None:
    logger = sender.FluentSender("td.shop", host="127.0.0.1", port=addon.forward_local)
    for number in range(COUNT):
        assert logger.emit_with_time("py_clicks", 1795600000 + number, {"number": number, "text": "ü"})
    logger.close()
    found = addon.wait_for(COUNT, "SELECT time, number, text FROM py_clicks ORDER BY number", "shop")
    assert found == [[1795600000 + number, number, "ü"] for number in range(COUNT)]


def test_the_python_logger_sends_event_time_and_a_time_of_its_own(addon: ReceiverAddon) -> None:
    logger = sender.FluentSender(
        "td.shop", host="127.0.0.1", port=addon.forward_local, nanosecond_precision=True
    )
    assert logger.emit_with_time("py_nanos", 1795600000.75, {"time": "noon", "n": 1})
    logger.close()
    found = addon.wait_for(1, "SELECT time, record_time, n FROM py_nanos", "shop")
    assert found == [[1795600000, "noon", 1]]


def test_the_python_logging_handler(addon: ReceiverAddon) -> None:
    target = handler.FluentHandler("td.shop.py_log", host="127.0.0.1", port=addon.forward_local)
    target.setFormatter(handler.FluentRecordFormatter({"level": "%(levelname)s", "where": "%(name)s"}))
    log = logging.getLogger("checkout")
    log.propagate = False
    log.addHandler(target)
    log.warning({"order": 7})
    log.removeHandler(target)
    target.close()
    found = addon.wait_for(1, 'SELECT level, "where", "order" FROM py_log', "shop")
    assert found == [["WARNING", "checkout", 7]]


# npm

MODES = [
    ("Message", {}),
    ("PackedForward", {"flushInterval": 20}),
    ("CompressedPackedForward", {"flushInterval": 20}),
]


@pytest.mark.parametrize(("mode", "more"), MODES)
@pytest.mark.parametrize("keyed", [True, False])
def test_the_node_logger_with_acks(
    addon: ReceiverAddon, mode: str, more: dict[str, Any], keyed: bool
) -> None:
    table = f"node_{mode}_{keyed}".lower()
    options: dict[str, Any] = {"eventMode": mode, "requireAckResponse": True, **more}
    if keyed:
        options |= {
            "port": addon.forward,
            "security": {"clientHostname": addon.account, "sharedKey": addon.forward_key},
        }
    else:
        options["port"] = addon.forward_local
    done = node(f"shop.{table}", COUNT, **options)
    assert done.returncode == 0, done.stderr
    # Acknowledged, so it is there: no waiting.
    sql = f"SELECT time, number, text, nested FROM {table} ORDER BY number"  # noqa: S608 - our own name
    found = addon.rows(sql, "shop")
    nested = '{"list":[1,2.5,null,true]}'
    assert found == [[1795600000, number, f"event {number} ü", nested] for number in range(COUNT)]


def test_a_wrong_shared_key_is_refused_with_a_reason(addon: ReceiverAddon) -> None:
    before = addon.metric("connections_refused", "forward")
    security = {"clientHostname": addon.account, "sharedKey": "0" * 64}
    done = node("shop.never", 1, port=addon.forward, requireAckResponse=True, security=security)
    assert done.returncode == 1
    assert "the account or the shared key is wrong" in done.stderr
    assert addon.metric("connections_refused", "forward") > before
    assert addon.rows("SELECT * FROM never", "shop") == []


def test_the_key_of_one_account_opens_no_other(addon: ReceiverAddon) -> None:
    addon.provision("d.0f6e0f6e-2222-4000-8000-00000000abcd")
    security = {"clientHostname": str(int(addon.account) + 1), "sharedKey": addon.forward_key}
    done = node("shop.never", 1, port=addon.forward, requireAckResponse=True, security=security)
    assert done.returncode == 1
    assert "the account or the shared key is wrong" in done.stderr


def test_the_node_logger_with_user_name_and_password(addon: ReceiverAddon) -> None:
    security = {
        "clientHostname": "somewhere",
        "sharedKey": addon.forward_key,
        "username": addon.account,
        "password": addon.forward_key,
    }
    done = node("shop.node_user", 1, port=addon.forward, requireAckResponse=True, security=security)
    assert done.returncode == 0, done.stderr
    assert addon.rows("SELECT number FROM node_user", "shop") == [[0]]


def test_the_forward_key_is_shown_to_the_master_key(addon: ReceiverAddon) -> None:
    with addon.running.http() as client:
        answer = client.get("/sluice/v1/forward")
    assert answer.json() == {"username": addon.account, "shared_key": addon.forward_key}
