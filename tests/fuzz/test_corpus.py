"""Every kept input goes through its parser again, and so do some mutations of it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
_SLOW_S = 2.0
_MUTATIONS = 100


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the data with a few of its bytes changed, cut out, doubled or put in."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(4)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randrange(1, 40)]
        else:
            out[at:at] = rng.choice(
                [b"\0", b"\xff", b'"', b"\n", b"{", b"9" * 9, b"\x89SLU\r\n\x1a\n", b"\xed\xa0\x80"]
            )
    return bytes(out)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_kept_inputs_find_nothing(target: str) -> None:
    files = sorted((CORPUS / target).iterdir())
    assert files, "run: python -m tests.fuzz sow"
    seed = random.randrange(1 << 30)  # noqa: S311 - printed
    print(f"seed {seed}")  # noqa: T201 - to repeat it
    rng = random.Random(seed)  # noqa: S311 - reproducible
    for path in files:
        data = path.read_bytes()
        for one in (data, *(mutated(data, rng) for _ in range(_MUTATIONS))):
            began = time.monotonic()
            try:
                TARGETS[target](one)
            except Exception as error:
                error.add_note(f"{path.name}: {one!r}")
                raise
            assert time.monotonic() - began < _SLOW_S, one


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
