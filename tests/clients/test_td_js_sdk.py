"""The real td-js-sdk, 4 and 2, in a real Chromium, on a page of another origin than the add-on's."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from addon.models.accounts import Right
from addon.store.accounts import AccountStore
from addon.store.database import Database
from platform_core.base.clock import SystemClock
from tests.clients.browser import visit
from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_DATABASE = "web_shop"
_IDS = [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """A running add-on with a database, and a key that may only write."""
    home = tmp_path_factory.mktemp("collectors")
    running = start(home, free_base())
    with running.client() as client:
        client.create_database(_DATABASE)
    database = Database(f"sqlite:///{home / 'addon' / 'addon.db'}")
    key = AccountStore(database, SystemClock()).add_key(1, Right.WRITE)
    database.close()
    yield running, key
    stop(running)


def _page(addon: tuple[Running, str], name: str, sdk: str) -> dict[str, bytes]:
    running, key = addon
    secure = f"127.0.0.1:{int(running.url.rpartition(':')[2]) + 1}"
    settings = {"server": running.url, "secure": secure, "key": key, "database": _DATABASE}
    page = (_HERE / "pages" / name).read_text().replace("SETTINGS", json.dumps(settings))
    script = _HERE / "node_modules" / sdk / "dist" / "td.min.js"
    return {"/page.html": page.encode(), "/td.js": script.read_bytes()}


def _rows(addon: tuple[Running, str], sql: str) -> list[list[Any]]:
    with addon[0].http() as http:
        answer = http.post("/sluice/v1/query", json={"sql": sql, "database": _DATABASE})
    assert answer.is_success, answer.text
    rows: list[list[Any]] = answer.json()["rows"]
    return rows


def test_td_js_sdk_4_tracks_from_a_page_of_another_origin(addon: tuple[Running, str], tmp_path: Path) -> None:
    origin, seen = visit(tmp_path, _page(addon, "td_js_sdk_4.html", "td-js-sdk"))
    stored = {"success": {"created": True, "records": 1}}
    for call in ("event", "pageview", "record", "prefixed", "leaving", "known", "knownAgain", "anonymous"):
        assert seen[call] == stored, seen
    assert (seen["badKey"], seen["noDatabase"]) == ({"failure": "Unauthorized"}, {"failure": "Not Found"})
    assert seen["badKeyRead"]["status"] == 401
    assert "The API key is not valid" in seen["badKeyRead"]["body"]["message"]
    assert seen["tooMany"]["status"] == 422
    assert "501 records; a call takes 1 to 500" in seen["tooMany"]["body"]["message"]

    ((*event, version),) = _rows(
        addon,
        "select cart, note, td_title, td_description, td_url, td_host, td_browser, td_os, td_user_agent,"
        " td_version from events",
    )
    assert event[:7] == [
        3,
        "gr\u00fc\u00df \N{GRINNING FACE}",
        "Socks & more",
        "A shop of socks",
        f"{origin}/page.html",
        origin.removeprefix("http://"),
        "Chrome",
    ]
    assert event[7:] == ["Linux", f"{seen['agent']};JSSDK/4.4.3"]
    assert version == "4.4.3"
    ((path, language, client),) = _rows(addon, "select td_path, td_language, td_client_id from pageviews")
    assert (path, language) == ("/page.html", "en-us")
    assert uuid.UUID(client)
    assert _rows(addon, "select time, n, price, nested, flag from custom order by n") == [
        [1_700_000_000, 1, 2.5, '{"a":[1,null]}', True],
        [1_700_000_001, 2, None, None, None],
        [1_700_000_002, 3, None, None, None],
    ]

    _check_who_is_told(addon, seen)


def _check_who_is_told(addon: tuple[Running, str], seen: dict[str, Any]) -> None:
    """In signed mode with a global id the server adds who it is; in anonymous mode nobody does."""
    known = _rows(addon, "select n, td_ip, td_global_id from known order by n")
    assert [row[:2] for row in known] == [[1, "127.0.0.1"], [2, "127.0.0.1"]]
    first, second = (uuid.UUID(row[2]) for row in known)
    assert first == second
    # Over TLS the add-on is another site to a page that is not, whose cookies the browser does not keep.
    assert uuid.UUID(seen["globalId"]["success"])
    assert uuid.UUID(seen["siteId"]["success"])
    with addon[0].http() as http:
        cookies = [{"cookie": f"_td_ssc_id={known}"} for known in _IDS]
        first, second = (http.get("/get_cookie_id", headers=cookie).json() for cookie in cookies)
    assert [first["td_ssc_id"], second["td_ssc_id"]] == _IDS
    with addon[0].http() as http:
        (table,) = [
            one for one in http.get(f"/v3/table/list/{_DATABASE}").json()["tables"] if one["name"] == "shy"
        ]
    columns = {name for name, *_ in json.loads(table["schema"])}
    assert "td_title" in columns
    assert columns.isdisjoint({"td_ip", "td_client_id", "td_global_id"})


def test_td_js_sdk_2_tracks_by_jsonp(addon: tuple[Running, str], tmp_path: Path) -> None:
    _, seen = visit(tmp_path, _page(addon, "td_js_sdk_2.html", "td-js-sdk-2"))
    assert seen["event"] == seen["record"] == {"success": {"created": True}}
    assert seen["badKey"] == {"failure": "Timeout"}
    assert seen["leaving"] == {"success": 200}
    ((note, *server),) = _rows(addon, "select note, td_ip, td_browser, td_os, td_version from old_events")
    its_own = "2.5.1"  # what the file of 2.5.2 says of itself
    assert (note, server) == ("gr\u00fc\u00df \N{GRINNING FACE}", ["127.0.0.1", "Chrome", "Linux", its_own])
    assert _rows(addon, "select n from old_custom order by n") == [[1], [2]]


def _page_of(key: str) -> dict[str, str]:
    kind = "application/vnd.treasuredata.v1+json"
    return {"origin": "https://shop.example", "authorization": f"TD1 {key}", "content-type": kind}


def test_collectors_refuse_in_a_way_that_a_page_can_read(addon: tuple[Running, str]) -> None:
    running, key = addon
    with httpx.Client(base_url=running.url, timeout=60) as http:
        asked = {"origin": "https://shop.example", "access-control-request-method": "POST"}
        preflight = http.options(f"/{_DATABASE}/events", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        assert preflight.headers["access-control-allow-credentials"] == "true"
        allowed = preflight.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "user-agent"} <= set(allowed)

        good = _page_of(key)
        large = b'{"events":[{"a":"' + b"x" * (5 << 20) + b'"}]}'
        for path, headers, body, status, told in (
            (f"/{_DATABASE}/events", _page_of("1/x"), b"{}", 401, "API key is not valid"),
            (f"/{_DATABASE}/events", {**good, "authorization": ""}, b"{}", 401, "API key is missing"),
            (f"/{_DATABASE}/events", good, b'{"event":{}}', 422, "The body is not valid"),
            (f"/{_DATABASE}/events", good, large, 413, "limit of 5242880 bytes"),
            ("/nowhere/events", good, b'{"events":[{}]}', 404, "Database 'nowhere' does not exist"),
            (f"/collect/{_DATABASE}/Events", good, b'{"events":[{}]}', 422, "table name 'Events'"),
            (f"/postback/v3/event/{_DATABASE}/posts", _page_of("1/x"), b"{}", 401, "API key is not valid"),
            (f"/postback/v3/event/{_DATABASE}/posts", good, b"x" * 1_048_065, 413, "limit of 1048064 bytes"),
            (f"/postback/v2/event/{_DATABASE}/posts?td_write_key={key}", {}, b'{"a":1}', 401, "missing"),
        ):
            answer = http.post(path, headers=headers, content=body)
            assert (answer.status_code, told in answer.json()["message"]) == (status, True), answer.text
            assert answer.headers.get("access-control-allow-origin") == headers.get("origin")
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_postbacks_are_stored_as_text_with_each_way_to_show_the_key(addon: tuple[Running, str]) -> None:
    running, key = addon
    with httpx.Client(base_url=running.url, timeout=60) as http:
        for version, query, headers in (
            ("v1", {"td_write_key": key}, {}),
            ("v2", {}, {"authorization": f"TD1 {key}"}),
            ("v3", {}, {"x-td-write-key": key}),
        ):
            body = {"version": version, "n": 1.5, "ok": True, "nothing": None, "many": [1, {"a": 2}]}
            answer = http.post(
                f"/postback/{version}/event/{_DATABASE}/postbacks", params=query, headers=headers, json=body
            )
            assert answer.json() == {"created": True, "records": 1}
    sql = "select version, n, ok, many from postbacks order by version"
    assert _rows(addon, sql) == [[f"v{n}", "1.5", "true", '[1,{"a":2}]'] for n in (1, 2, 3)]


def test_a_jsonp_callback_is_the_name_of_a_function_or_refused(addon: tuple[Running, str]) -> None:
    running, key = addon
    given = {"api_key": key, "data": "eyJhIjoxfQ=="}
    path = f"/js/v3/event/{_DATABASE}/scripts"
    with httpx.Client(base_url=running.url, timeout=60) as http:
        answer = http.get(path, params={**given, "callback": "a.b$_1"})
        assert answer.text == '/**/typeof a.b$_1==="function"&&a.b$_1({"created":true});'
        assert answer.headers["content-type"].startswith("application/javascript")
        assert answer.headers["x-content-type-options"] == "nosniff"
        for callback in ("alert(1)//", "a;b", "<script>", "a b", "1a", "a..b", "a\nb", "a" * 200, "\u00e9"):
            refused = http.get(path, params={**given, "callback": callback})
            assert refused.status_code == 422, callback
            assert refused.headers["content-type"] == "application/json"
            assert callback not in refused.text
        assert http.get(path, params={**given, "api_key": "1/x", "callback": "a"}).status_code == 401
    assert _rows(addon, "select a from scripts") == [[1]]
