"""Real syslog senders over TCP and TLS: util-linux logger, rsyslog, syslog-ng, Python's own handler."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.receiver_addon import ReceiverAddon, receiver_addon

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSLOG_NG = Path(sys.prefix) / "syslog-ng"
RSYSLOGD = "/usr/sbin/rsyslogd"
LINES = 500
ROUTED = (
    "at=info method=GET path=/ host=a.b request_id=r fwd=1 dyno=web.1 connect=1ms service=2ms status=200"
    " bytes=3 protocol=http"
)


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverAddon]:
    with receiver_addon(tmp_path_factory.mktemp("syslog")) as running:
        yield running


@contextlib.contextmanager
def program(argv: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon in the foreground and end it by SIGTERM."""
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def logger(addon: ReceiverAddon, *options: str, lines: str = "", port: int | None = None) -> None:
    argv = ["logger", "--server", "127.0.0.1", "--tcp", "--port", str(port or addon.syslog), *options]
    subprocess.run(argv, input=lines, text=True, check=True, timeout=30)


def as_parameter(addon: ReceiverAddon) -> list[str]:
    return ["--rfc5424", "--sd-id", "sluice@32473", "--sd-param", f'token="{addon.key}"']


# util-linux logger


def test_logger_with_rfc_5424(addon: ReceiverAddon) -> None:
    logger(addon, *as_parameter(addon), "-t", "l5424", "--msgid", "REQ", "--id=77", "Grüße aus Köln")
    sql = "SELECT message, host, process, msgid, severity, structured_data FROM app WHERE source = 'l5424'"
    ((message, host, process, msgid, severity, data),) = addon.wait_for(1, sql)
    assert (message, process, msgid, severity) == ("Grüße aus Köln", "77", "REQ", "notice")
    assert host == socket.gethostname()
    assert addon.key not in data
    assert "timeQuality" in data


@pytest.mark.parametrize("counted", [True, False])
def test_logger_sends_many_lines_over_one_connection(addon: ReceiverAddon, counted: bool) -> None:
    tag = f"many{counted}".lower()
    options = ["--octet-count"] if counted else []
    lines = "".join(f"line {number}\n" for number in range(LINES))
    logger(addon, *as_parameter(addon), *options, "-t", tag, lines=lines)
    sql = f"SELECT message FROM app WHERE source = '{tag}' ORDER BY seq"  # noqa: S608 - our own name
    found = addon.wait_for(LINES, sql)
    assert found == [[f"line {number}"] for number in range(LINES)]


def test_logger_with_rfc_3164_and_the_key_in_its_tag(addon: ReceiverAddon) -> None:
    logger(addon, "--rfc3164", "-t", f"bsd@{addon.key}", "--id=5", "old [x] style: yes")
    sql = "SELECT message, process, app, timestamp_us > 0, msgid FROM app WHERE source = 'bsd'"
    assert addon.wait_for(1, sql) == [["old [x] style: yes", "5", "local", True, None]]


def test_a_tagged_line_is_a_row_of_the_table_it_names(addon: ReceiverAddon) -> None:
    logger(addon, *as_parameter(addon), '@[shop.syslog_orders] {"order": 7, "time": 1795600000}')
    assert addon.wait_for(1, 'SELECT time, "order" FROM syslog_orders', "shop") == [[1795600000, 7]]


def test_a_message_without_a_token_closes_the_connection_and_is_counted(addon: ReceiverAddon) -> None:
    before = addon.metric("refused", "syslog")
    logger(addon, "--rfc5424", "-t", "stranger", f"token={addon.key}")
    with socket.create_connection(("127.0.0.1", addon.syslog)) as connection:
        connection.settimeout(10)
        connection.sendall(b'<13>1 - - stranger - - [sluice@32473 token="1/' + b"0" * 64 + b'"] hi\n')
        assert connection.recv(1) == b""
    assert addon.rows("SELECT count(*) FROM app WHERE source = 'stranger'") == [[0]]
    assert addon.metric("refused", "syslog") == before + 2


def test_a_platforms_syslog_drain_is_known_by_its_token(addon: ReceiverAddon) -> None:
    token = "d.0f6e0f6e-1111-4000-8000-00000000abcd"
    key = addon.provision(token)
    lines = [
        f"<190>1 2026-11-25T16:00:00+00:00 {token} app web.1 - - a list item",
        f"<158>1 2026-11-25T16:00:01+00:00 {token} heroku router - {ROUTED}",
    ]
    with socket.create_connection(("127.0.0.1", addon.syslog)) as connection:
        connection.sendall(b"".join(b"%d %b" % (len(line), line.encode()) for line in lines))
    sql = "SELECT app, source, process, message, host FROM app"
    assert addon.wait_for(1, sql, key=key) == [["shop-1", "app", "web.1", "- a list item", None]]
    assert addon.wait_for(1, "SELECT status, host FROM router", key=key) == [[200, "a.b"]]
    (drain,) = addon.rows("SELECT drain FROM router", key=key)
    assert drain == ["0f6e0f6e-0000-4000-8000-00000000abcd"]


# rsyslog


def rsyslog_conf(folder: Path, action: str, tls: str = "") -> Path:
    (folder / "in.log").write_text("".join(f"line {number}\n" for number in range(LINES)))
    conf = folder / "rsyslog.conf"
    conf.write_text(
        f'global(workDirectory="{folder}" {tls})\n'
        'module(load="imfile")\n'
        f'input(type="imfile" File="{folder}/in.log" Tag="{folder.name}:" Severity="warning")\n'
        f"{action}\n"
    )
    return conf


RFC_5424 = (
    "<%PRI%>1 %TIMESTAMP:::date-rfc3339% %HOSTNAME% %APP-NAME% %PROCID% %MSGID%"
    ' [sluice@32473 token=\\"KEY\\"] %msg%'
)


@pytest.mark.parametrize(
    ("name", "framing", "template"),
    [
        ("rsyslog-octets", "octet-counted", RFC_5424),
        ("rsyslog-lines", "traditional", RFC_5424 + "\\n"),
        ("rsyslog-loggly", "octet-counted", RFC_5424.replace('sluice@32473 token=\\"KEY\\"', "KEY@32473")),
        ("rsyslog-bsd", "traditional", "<%PRI%>%TIMESTAMP% %HOSTNAME% %APP-NAME%@KEY: %msg%\\n"),
        ("rsyslog-bsd-iso", "traditional", "<%PRI%>%TIMESTAMP:::date-rfc3339% %HOSTNAME% x@KEY: %msg%\\n"),
    ],
)
def test_rsyslog(addon: ReceiverAddon, tmp_path: Path, name: str, framing: str, template: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    text = template.replace("KEY", addon.key).replace("x@", f"{name}@")
    action = (
        f'template(name="sluice" type="string" string="{text}")\n'
        f'action(type="omfwd" protocol="tcp" target="127.0.0.1" port="{addon.syslog}" template="sluice"'
        f' TCP_Framing="{framing}")'
    )
    conf = rsyslog_conf(folder, action)
    with program([RSYSLOGD, "-n", "-f", str(conf), "-i", str(folder / "pid")]):
        sql = f"SELECT message, severity, host FROM app WHERE source = '{name}' ORDER BY seq"  # noqa: S608 - our own
        found = addon.wait_for(LINES, sql)
    assert [row[0].strip() for row in found] == [f"line {number}" for number in range(LINES)]
    assert {tuple(row[1:]) for row in found} == {("warning", socket.gethostname())}


@pytest.mark.parametrize("template", ["RSYSLOG_TraditionalForwardFormat", "RSYSLOG_ForwardFormat"])
def test_rsyslogs_default_templates_with_the_token_as_host_name(
    addon: ReceiverAddon, tmp_path: Path, template: str
) -> None:
    folder = tmp_path / f"default{len(template)}"  # as the tag: those templates cut one at 32 characters
    folder.mkdir()
    action = (
        f'action(type="omfwd" protocol="tcp" target="127.0.0.1" port="{addon.syslog}" template="{template}")'
    )
    conf = rsyslog_conf(folder, action, f'localHostname="{addon.key}"')
    with program([RSYSLOGD, "-n", "-f", str(conf), "-i", str(folder / "pid")]):
        sql = f"SELECT message, host FROM app WHERE source = '{folder.name}' ORDER BY seq"  # noqa: S608 - ours
        found = addon.wait_for(LINES, sql)
    assert found == [[f"line {number}", None] for number in range(LINES)]


def test_rsyslog_over_tls_checks_our_certificate(addon: ReceiverAddon, tmp_path: Path) -> None:
    folder = tmp_path / "rsyslog-gtls"
    folder.mkdir()
    text = RFC_5424.replace("KEY", addon.key)
    action = (
        f'template(name="sluice" type="string" string="{text}")\n'
        f'action(type="omfwd" protocol="tcp" target="localhost" port="{addon.syslog_tls}" template="sluice"'
        ' TCP_Framing="octet-counted" StreamDriver="gtls" StreamDriverMode="1"'
        ' StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost")'
    )
    conf = rsyslog_conf(folder, action, f'DefaultNetstreamDriverCAFile="{addon.running.authority}"')
    with program([RSYSLOGD, "-n", "-f", str(conf), "-i", str(folder / "pid")]):
        found = addon.wait_for(LINES, "SELECT message FROM app WHERE source = 'rsyslog-gtls' ORDER BY seq")
    assert [row[0].strip() for row in found] == [f"line {number}" for number in range(LINES)]
    assert addon.metric("stored", "syslog_tls") >= LINES


# syslog-ng


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_syslog_ng(addon: ReceiverAddon, tmp_path: Path, transport: str) -> None:
    if not (SYSLOG_NG / "usr/sbin/syslog-ng").exists():
        pytest.fail("syslog-ng is not unpacked: run `make setup-test`")
    (tmp_path / "in.log").write_text("".join(f"line {number}\n" for number in range(LINES)))
    tls = f' tls(ca-file("{addon.running.authority}"))' if transport == "tls" else ""
    port = addon.syslog_tls if transport == "tls" else addon.syslog
    (tmp_path / "syslog-ng.conf").write_text(
        "@version: 3.38\n"
        "options { stats-freq(0); };\n"
        f'source s {{ file("{tmp_path}/in.log" follow-freq(0.1) flags(no-parse)'
        f' program-override("ng-{transport}")); }};\n'
        f'rewrite r {{ set("{addon.key}" value(".SDATA.sluice@32473.token"));'
        ' set("shop" value(".SDATA.origin.app")); };\n'
        f'destination d {{ syslog("localhost" port({port}) transport("{transport}"){tls}); }};\n'
        "log { source(s); rewrite(r); destination(d); };\n"
    )
    libraries = sorted({str(path.parent) for path in SYSLOG_NG.glob("**/*.so*")})
    own = [str(tmp_path / name) for name in ("persist", "control", "pid")]
    argv = [
        *(str(SYSLOG_NG / "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", str(tmp_path / "syslog-ng.conf")),
        *(f"--module-path={SYSLOG_NG}/usr/lib/syslog-ng/3.38", "-R", own[0], "-c", own[1], "-p", own[2]),
    ]
    with program(argv, LD_LIBRARY_PATH=":".join(libraries)):
        sql = f"SELECT message, structured_data FROM app WHERE source = 'ng-{transport}' ORDER BY seq"  # noqa: S608 - our own
        found = addon.wait_for(LINES, sql)
    assert [row[0] for row in found] == [f"line {number}" for number in range(LINES)]
    assert addon.key not in found[0][1]
    assert '"origin":{"app":"shop"}' in found[0][1]


# Python


def test_pythons_handler_ends_its_messages_with_nul(addon: ReceiverAddon) -> None:
    handler = logging.handlers.SysLogHandler(("127.0.0.1", addon.syslog), socktype=socket.SOCK_STREAM)
    handler.ident = f"pyapp@{addon.key}: "
    log = logging.getLogger("pyapp")
    log.propagate = False
    log.addHandler(handler)
    log.error("first\nwith a second line")
    log.warning("third")
    log.removeHandler(handler)
    handler.close()
    found = addon.wait_for(2, "SELECT message, severity FROM app WHERE source = 'pyapp' ORDER BY seq")
    assert found == [["first\nwith a second line", "err"], ["third", "warning"]]
