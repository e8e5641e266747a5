"""Sends pieces: several at once, each until it is stored, each counted once whatever breaks on the way."""

from __future__ import annotations

import hashlib
import math
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from addon.cli.import_pieces import Piece

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_TOO_LARGE, _CONFLICT = 413, 409
_TIMEOUT_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_SHOWN_ERRORS = 5
_CODES = {401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.NOT_FOUND}
_jitter = random.SystemRandom()


@dataclass(slots=True)
class Totals:
    """What became of the pieces so far."""

    pieces: int = 0
    rows: int = 0
    rejected: int = 0
    known: int = 0
    """Pieces that were stored before this run."""
    retries: int = 0
    errors: list[str] = field(default_factory=list)
    """The first bad rows, in words."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where pieces go."""

    server: str
    key: str
    database: str
    table: str

    @property
    def path(self) -> str:
        """The upload route of the table."""
        return f"/api/import/{quote(self.database, safe='')}/{quote(self.table, safe='')}"


class Sender:
    """Takes pieces from one thread and sends them from several."""

    def __init__(
        self,
        target: Target,
        *,
        parallel: int,
        patience_s: float,
        salt: str = "",
        client: httpx.Client | None = None,
    ) -> None:
        """``patience_s`` is how long a piece is tried while the server is busy or away.

        A ``salt`` of its own makes all upload ids new, so that a file that was imported goes in once more.
        """
        headers = {"Authorization": f"TD1 {target.key}"}
        self._http = client or httpx.Client(
            base_url=target.server, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        )
        self._target = target
        self._parallel = parallel
        self._patience_s = patience_s
        self._salt = salt
        self._compress = urlsplit(target.server).hostname not in _LOOPBACK
        self._occurrences: Counter[str] = Counter()
        self._misses = 0
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self.totals = Totals()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def prepare(self) -> None:
        """Make the table where it is missing; its id becomes part of each upload id.

        Raises:
            Failure: the server cannot be reached, or says no.
        """
        answer = self._tried("PUT", self._target.path, patience_s=0.0)
        self._salt = f"{answer.json()['id']}-{self._salt}" if self._salt else str(answer.json()["id"])

    def send(
        self, pieces: Iterable[tuple[Piece, Mapping[str, str]]], stored: Callable[[Piece, Totals], None]
    ) -> None:
        """Send (piece, query) pairs; ``stored`` is called for each, from any thread, one at a time.

        Raises:
            Failure: one cannot be stored; those under way are still waited for.
        """
        room = threading.BoundedSemaphore(2 * self._parallel)
        with ThreadPoolExecutor(self._parallel, "import") as pool:
            try:
                for piece, query in pieces:
                    room.acquire()
                    if self._stop.is_set():
                        break
                    upload_id = self._upload_id(piece, query)
                    task = pool.submit(self._one, piece, query, upload_id, stored)
                    task.add_done_callback(lambda _: room.release())
            except BaseException:
                self._stop.set()
                raise
        if self._failure is not None:
            raise self._failure

    def _upload_id(self, piece: Piece, query: Mapping[str, str]) -> str:
        """Return an id by table, options and content; equal pieces of several files are numbered."""
        options = ",".join(
            f"{name}={value}" for name, value in sorted(query.items()) if name not in _VOLATILE
        )
        seen = self._occurrences[piece.name]
        self._occurrences[piece.name] += 1
        return f"import-{_short(f'{self._salt}|{options}|{seen}')}-{piece.name}"

    def _one(
        self,
        piece: Piece,
        query: Mapping[str, str],
        upload_id: str,
        stored: Callable[[Piece, Totals], None],
    ) -> None:
        try:
            if not self._stop.is_set():
                self._store_of(piece, query, upload_id)
                with self._lock:
                    stored(piece, self.totals)
        except BaseException as error:  # noqa: BLE001 - raised again by send, the first one of all threads
            with self._lock:
                self._failure = self._failure or error
            self._stop.set()

    def _store_of(self, piece: Piece, query: Mapping[str, str], upload_id: str) -> None:
        try:
            self._store(piece, query, upload_id)
        except Failure as failure:
            failure.why = f"{query.get('name', '')}, from line {piece.first_line}: {failure.why}"
            raise

    def _store(self, piece: Piece, query: Mapping[str, str], upload_id: str) -> None:
        if self._is_stored(upload_id):
            self._count(known=1)
            return
        headers = {"Sluice-Upload-Id": upload_id}
        answer = self._tried(
            "POST",
            self._target.path,
            params={**query, "first_line": str(piece.first_line)},
            content=self._packed(piece.body(), query["format"]),
            headers=headers,
        )
        if answer.status_code == _CONFLICT:  # the id names the content: it is there, spelled otherwise
            self._count(known=1)
        elif answer.status_code == _TOO_LARGE:
            halves = piece.halves()
            if halves is None:
                raise _refusal(answer, piece)
            for number, half in enumerate(halves):
                self._store(half, query, f"{upload_id}.{number}")
        else:
            self._note(answer.json(), query.get("name", ""))

    def _note(self, content: Mapping[str, Any], name: str) -> None:
        if content["duplicate"]:
            self._count(known=1)
            return
        told = [f"{name} line {one['line']}: {one['reason']}" for one in content["errors"]]
        self._count(pieces=1, rows=content["rows"], rejected=content["rejected"], told=told)

    def _count(
        self, *, pieces: int = 0, rows: int = 0, rejected: int = 0, known: int = 0, told: Iterable[str] = ()
    ) -> None:
        with self._lock:
            totals = self.totals
            totals.pieces += pieces
            totals.rows += rows
            totals.rejected += rejected
            totals.known += known
            totals.errors = [*totals.errors, *told][:_SHOWN_ERRORS]

    def _is_stored(self, upload_id: str) -> bool:
        """Ask before sending, until so many pieces in a row were new that the rest will be."""
        if self._misses > 2 * self._parallel:
            return False
        answer = self._tried("GET", f"{self._target.path}/{quote(upload_id, safe='')}").json()
        with self._lock:
            self._misses = 0 if answer["stored"] else self._misses + 1
        return bool(answer["stored"])

    def _packed(self, body: bytes, form: str) -> bytes:
        if not self._compress or form == "parquet":
            return body
        import zstandard  # noqa: PLC0415  # only those who send over a network wait for it

        return zstandard.ZstdCompressor(level=1).compress(body)

    def _tried(
        self, method: str, path: str, *, patience_s: float | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request until its answer is final; 409 and 413 are the caller's to read.

        Raises:
            Failure: the server says no, or was busy or away for longer than the patience.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        deadline = time.monotonic() + patience_s
        pause = _FIRST_PAUSE_S
        while True:
            problem, wait = "", pause * (0.5 + _jitter.random())
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code not in _RETRIED:
                    return _final(answer)
                problem = f"{answer.status_code}: {_reason(answer)}"
                wait = max(wait, _retry_after(answer))
            if time.monotonic() + wait > deadline or self._stop.is_set():
                raise _given_up(self._target.server, problem, wait, patience_s)
            self._count_retry()
            self._stop.wait(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _count_retry(self) -> None:
        with self._lock:
            self.totals.retries += 1


_VOLATILE = frozenset({"name", "first_line"})
"""Parameters that do not change what a piece's rows are."""


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _final(answer: httpx.Response) -> httpx.Response:
    if answer.is_success or answer.status_code in {_CONFLICT, _TOO_LARGE}:
        return answer
    code = _CODES.get(answer.status_code, Exit.ERROR)
    advice = (
        'Check TD_API_KEY; `eval "$(sluice env)"` sets the local one.'
        if code is Exit.AUTH
        else "Mend that, then run the same command again: what is stored already is not sent twice."
    )
    raise Failure(f"The add-on answered {answer.status_code}", _reason(answer), advice, code)


def _refusal(answer: httpx.Response, piece: Piece) -> Failure:
    return Failure(
        f"The row on line {piece.first_line} is too large", _reason(answer), "Shorten or remove that row."
    )


def _given_up(server: str, problem: str, wait: float, patience_s: float) -> Failure:
    if not patience_s:
        return Failure(
            f"Cannot reach the add-on at {server}", problem, "Is it running? Start it with: sluice up"
        )
    return Failure(
        f"The add-on at {server} was busy or away for over {patience_s:.0f} s",
        f"{problem} (it asks to wait {math.ceil(wait)} s)",
        "Run the same command again later: what is stored already is not sent twice.",
        Exit.TIMEOUT,
    )


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]
