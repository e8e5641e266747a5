"""Takes the token out of a syslog message, so that it is neither on disk nor in a row.

Where a token may stand (``docs/formats/syslog.md``):

- RFC 5424: a parameter ``token`` of a structured data element, or an SD-ID ``<token>@<number>``; or HOSTNAME,
  as a platform's syslog drains have their drain token, and then there is no structured data field.
- RFC 3164: HOSTNAME (a drain token), or the tag: ``<token>`` or ``<program>@<token>``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from addon.receivers.senders import TOKEN, is_token
from platform_core.wire.bsd import parse_message
from platform_core.wire.syslog import SyslogError

_PARTS = 7
_HOST = 2
_NIL = b"-"
_NAME = rb'[^ ="\]\x00-\x20\x7f-\xff]'
_ELEMENT = re.compile(
    rb"\[(" + _NAME + rb"{1,200})((?: " + _NAME + rb'{1,32}="(?:[^"\\\]]|\\.)*")*)\]', re.DOTALL
)
_PARAMETER = re.compile(rb' token="(' + TOKEN + rb')"')
_SD_ID = re.compile(rb"(" + TOKEN + rb")@\d{1,10}")
_TAG = re.compile(rb"(?:(.{1,200})@)?(" + TOKEN + rb")", re.DOTALL)


class Separated(NamedTuple):
    """A message without its token. ``token`` is empty when it has none."""

    token: bytes
    message: bytes


class TokenCutter:
    """For the messages of one connection: remembers the element that the last one carried its token in."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._element = b""
        self._token = b""

    def cut(self, frame: bytes) -> Separated:
        """Return the token and the message without it; a message of RFC 5424 has all its fields then."""
        parts = frame.split(b" ", _PARTS - 1)
        if not parts[0].endswith(b">1") or len(parts) < _PARTS:
            return _cut_bsd(frame)
        rest, host = parts[-1], parts[_HOST]
        if (host.startswith(b"d.") or b"/" in host) and is_token(host):
            parts[_HOST] = _NIL
        else:
            host = b""
        if self._element and rest.startswith(self._element):
            following = rest[len(self._element) : len(self._element) + 1]
            if following in {b" ", b""}:
                return Separated(self._token, _joined(parts, _NIL + rest[len(self._element) :]))
        if rest.startswith(b"["):
            found = self._cut_elements(rest)
            if found is not None:
                return Separated(found.token, _joined(parts, found.message))
        if host:
            return Separated(host, _joined(parts, b"- " + rest))
        return Separated(b"", frame)

    def _cut_elements(self, rest: bytes) -> Separated | None:
        """Take every element with a token out of the structured data that ``rest`` begins with."""
        position, kept, token = 0, [], b""
        while (found := _ELEMENT.match(rest, position)) is not None:
            own = _SD_ID.fullmatch(found[1]) or _PARAMETER.search(found[2])
            if own is None:
                kept.append(found[0])
            elif not token:
                token = own[1]
                if not kept:
                    self._element, self._token = found[0], token
            position = found.end()
        if not token or rest[position : position + 1] not in {b" ", b""}:
            return None
        return Separated(token, (b"".join(kept) or _NIL) + rest[position:])


def _joined(parts: list[bytes], rest: bytes) -> bytes:
    return b" ".join([*parts[:-1], rest])


def _cut_bsd(frame: bytes) -> Separated:
    try:
        message = parse_message(frame)
    except SyslogError:
        return Separated(b"", frame)
    token = b""
    tagged = _TAG.fullmatch(message.tag)
    if tagged is not None:
        token, message = tagged[2], message._replace(tag=tagged[1] or _NIL)
    if is_token(message.hostname):
        token, message = message.hostname, message._replace(hostname=_NIL)
    return Separated(token, message.encode()) if token else Separated(b"", frame)
