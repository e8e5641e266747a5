"""The Procfile: one process type a line, ``<type>: <command>``. Strict, so that a typo is not an idle app."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 64 << 10
MAX_TYPES = 100
_LINE = re.compile(r"([A-Za-z0-9_-]{1,63}):[ \t]*(\S.*)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def parse_procfile(raw: bytes, name: str = "Procfile") -> Mapping[str, str]:
    """Return the commands by process type, in the file's order. Blank lines and ``#`` comments are left out.

    Raises:
        InvalidInput: a line is malformed, a type comes twice, or the file is too large; names the line.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidInput(f"{name} is larger than {MAX_BYTES} bytes.", hint="Move long commands to scripts.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = raw[: error.start].count(b"\n") + 1
        raise InvalidInput(f"{name} line {bad}: not UTF-8 text.", hint="Save the file as UTF-8.") from None
    commands: dict[str, str] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            process_type, command = _parse_line(line.rstrip(), f"{name} line {number}")
            if process_type in commands:
                raise InvalidInput(
                    f'{name} line {number}: the process type "{process_type}" is declared twice.',
                    hint="Remove or rename one of them.",
                )
            commands[process_type] = command
    if len(commands) > MAX_TYPES:
        raise InvalidInput(f"{name} declares more than {MAX_TYPES} process types.", hint="Remove some.")
    return commands


def _parse_line(line: str, where: str) -> tuple[str, str]:
    if _CONTROL.search(line):
        raise InvalidInput(f"{where}: a control character.", hint="Remove it; an editor can show it.")
    found = _LINE.fullmatch(line)
    if found is None:
        raise InvalidInput(
            f'{where}: "{line[:60]}" is not "<process type>: <command>".',
            hint='Write for example "web: gunicorn app:app"; types have up to 63 letters, digits, - and _.',
        )
    return found[1], found[2]
