"""``sluice import``: files of any size into a table, in pieces that count once, however often it is run."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from addon.cli.client import credentials
from addon.cli.failures import Exit, Failure
from addon.cli.import_pieces import Piece, form_of, opened, parquet_pieces, text_pieces
from addon.cli.import_progress import Progress, progress_for
from addon.cli.import_sender import Sender, Target, Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FORMS = ("ndjson", "csv", "parquet")
_STDIN = "-"
_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the command line says about the files; ``query`` are the upload route's own parameters."""

    form: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    again: str = ""
    parallel: int = 4
    patience_s: float = 120.0
    as_json: bool = False
    piece_bytes: int | None = None


def import_files(root: Path, files: Sequence[str], database: str, table: str, options: ImportOptions) -> Exit:
    """Import files, print what became of their rows.

    Raises:
        Failure: a file cannot be read, or the server refuses; what is stored by then stays so.
    """
    sources = [_source(name, options) for name in files]
    sizes = [source.size for source in sources]
    total = sum(size for size in sizes if size is not None) if None not in sizes else None
    target = Target(*credentials(root), database, table)
    sender = Sender(target, parallel=options.parallel, patience_s=options.patience_s, salt=options.again)
    began = time.monotonic()
    try:
        sender.prepare()
        with progress_for(total) as progress:
            sender.send(_pieces(sources, options), _Shown(progress).stored)
    except KeyboardInterrupt:
        print(f"sluice: interrupted; {_so_far(sender.totals)}", file=sys.stderr)
        return Exit.INTERRUPTED
    except Failure as failure:
        failure.why = f"{failure.why}\n{_so_far(sender.totals)}".strip()
        raise
    finally:
        sender.close()
    _tell(sender.totals, target, total, time.monotonic() - began, as_json=options.as_json)
    return Exit.REJECTED if sender.totals.rejected else Exit.OK


def _so_far(totals: Totals) -> str:
    return f"{totals.rows:,} rows were stored; the same command goes on from there."


class _Shown:
    """Adds up how much of the files is stored."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def stored(self, piece: Piece, totals: Totals) -> None:
        self._done += piece.span
        self._progress.show(self._done, totals.rows)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, or stdin, and its format."""

    name: str
    form: str
    tabs: bool
    size: int | None

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Lend the file; a pipe that must be seekable is kept in a temporary one."""
        with ExitStack() as stack:
            raw: IO[bytes] = (
                sys.stdin.buffer if self.name == _STDIN else stack.enter_context(Path(self.name).open("rb"))
            )
            if self.form == "parquet" and self.name == _STDIN:
                kept = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(raw, kept)
                kept.seek(0)
                raw = kept
            yield raw


def _source(name: str, options: ImportOptions) -> _Source:
    known = form_of(name)
    form = options.form or (known[0] if known else None)
    if form not in _FORMS:
        what = "stdin" if name == _STDIN else name
        raise Failure(
            f"The format of {what} is not known", "", f"Give --format: {', '.join(_FORMS)}.", Exit.USAGE
        )
    size = None
    if name != _STDIN:
        path = Path(name)
        if not path.is_file():
            raise Failure(f"There is no file {name}", "", "Check its name.", Exit.NOT_FOUND)
        size = path.stat().st_size
    return _Source(name, form, known is not None and known[1], size)


def _pieces(sources: Sequence[_Source], options: ImportOptions) -> Iterator[tuple[Piece, Mapping[str, str]]]:
    """Yield each file's pieces, and how they are to be read."""
    for source in sources:
        query = {**options.query, "format": source.form, "name": Path(source.name).name[-200:]}
        if source.tabs:
            query.setdefault("delimiter", "tab")
        if source.form != "csv":
            query = {name: value for name, value in query.items() if name not in _CSV_ONLY}
        with source.opened() as raw:
            if source.form == "parquet":
                pieces: Iterator[Piece] = iter(parquet_pieces(raw))
            else:
                header = source.form == "csv" and "columns" not in query
                pieces = iter(
                    text_pieces(opened(raw), raw, form=source.form, header=header, size=options.piece_bytes)
                )
            for piece in pieces:
                yield piece, query


_CSV_ONLY = frozenset({"delimiter", "columns", "all_text", "text"})


def _tell(totals: Totals, target: Target, size: int | None, spent: float, *, as_json: bool) -> None:
    """Print the summary: for people, or for programs."""
    if as_json:
        facts = {
            "database": target.database,
            "table": target.table,
            "rows": totals.rows,
            "rejected": totals.rejected,
            "errors": totals.errors,
            "pieces": totals.pieces,
            "known_pieces": totals.known,
            "retries": totals.retries,
            "bytes": size,
            "seconds": round(spent, 3),
        }
        print(json.dumps(facts))
        return
    read = f" of {size / _MEGA:,.1f} MB" if size is not None else ""
    print(
        f"{totals.rows:,} rows{read} into {target.database}.{target.table} in {spent:,.1f} s"
        f" ({totals.rows / max(spent, 1e-9):,.0f} rows/s)"
    )
    if totals.known:
        print(f"{totals.known:,} pieces were stored before and not again (--again WORD imports them anew)")
    if totals.rejected:
        rows = "row is" if totals.rejected == 1 else "rows are"
        print(f"{totals.rejected:,} bad {rows} in logs.dead_letters:")
        for text in totals.errors:
            print(f"  {text}")
