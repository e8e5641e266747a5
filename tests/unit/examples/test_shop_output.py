"""The shop's lines, carts and feed."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING

from carts import Carts
from catalogue import PRODUCTS
from events import Clock, event_line, logfmt, write_line
from hypothesis import given
from hypothesis import strategies as st
from worker import check_feed, one_round, remove_old, write_feed

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# The add-on's published rule: exactly one blank after the bracket, a JSON object, on one line.
RULE = re.compile(r"^\s*@\[(\S+)\] ({.*})\s*$")


@given(st.text(), st.text(min_size=1), st.integers(0, 2**53))
def test_an_event_line_keeps_the_rule_whatever_the_visitor_sends(event: str, text: str, seq: int) -> None:
    line = event_line(seq, event, {"referrer": text, "utm_source": None, "utm_medium": ""})
    match = RULE.match(line)
    assert match is not None
    assert "\n" not in line
    assert match[1] == "shop.events"
    assert json.loads(match[2]) == {"event": event, "seq": seq, "referrer": text}


def test_event_numbers_never_repeat_across_threads() -> None:
    clock, numbers = Clock(), list[int]()
    threads = [
        threading.Thread(target=lambda: numbers.extend([clock.next() for _ in range(2000)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(numbers)) == len(numbers) == 8000


def test_logfmt_quotes_what_would_be_read_as_two_pairs() -> None:
    assert logfmt(at="info", msg="order placed", empty="", tricky='a="b"') == (
        'at=info msg="order placed" empty="" tricky="a=\\"b\\""'
    )


def test_a_line_is_on_stdout_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    write_line("hällo")
    assert capfd.readouterr().out == "hällo\n"


def test_a_cart_is_taken_once_and_the_oldest_carts_are_forgotten() -> None:
    carts = Carts(limit=2)
    assert carts.add("ann", "a", 2) == 2
    assert carts.add("ann", "a", 1) == 3
    carts.add("bob", "b", 1)
    carts.add("eve", "c", 1)
    assert carts.take("ann") == {}
    assert carts.take("bob") == {"b": 1}
    assert carts.take("bob") == {}


def test_the_feed_has_every_product_and_old_feeds_go(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 6):
        one_round(tmp_path, number)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"feed-00000{n}.json" for n in (3, 4, 5)]
    assert {row["id"] for row in json.loads((tmp_path / "feed-000005.json").read_text())} == set(PRODUCTS)
    assert capfd.readouterr().out.count("count#feed.products=20") == 5


def test_a_bad_feed_is_described(tmp_path: Path) -> None:
    feed = write_feed(tmp_path, 1)
    rows = json.loads(feed.read_text())
    feed.write_text(json.dumps([*rows, rows[0] | {"price": 0}]))
    assert check_feed(feed) == [f"{rows[0]['id']}: price 0", "1 doubled ids"]
    assert remove_old(tmp_path) == 0
