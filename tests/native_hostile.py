"""Random funnels, purchases and bitmaps for a checked library, in memory of just their size.

``python -m tests.native_hostile LIBRARY --rounds N``. Run as a program, with a library that was compiled with
sanitizers; nothing but malloc is behind any byte.
"""

from __future__ import annotations

import argparse
import random
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa

from jobs.native.bitmap import all_differ
from jobs.native.funnel import TIES, FunnelKernel
from jobs.native.library import load
from jobs.native.purchases import summed_purchases


def batch(rng: random.Random, steps: int, rows: int) -> pa.RecordBatch:
    """Step events of few and many users, with names of all lengths."""
    users = [
        rng.randbytes(rng.choice((0, 1, 7, 8, 15, 16, 17, 33))).hex()
        for _ in range(rng.choice((1, 9, 3_000)))
    ]
    span = rng.choice((1, 100, 2**33))
    return pa.RecordBatch.from_pydict(
        {
            "entity_id": pa.array([rng.choice(users) for _ in range(rows)], pa.string()),
            "time": pa.array([rng.randrange(span) for _ in range(rows)], pa.int64()),
            "seq": pa.array([rng.randrange(5) for _ in range(rows)], pa.int64()),
            "steps": pa.array([rng.randrange(1, 1 << steps) for _ in range(rows)], pa.uint32()),
        }
    )


def _purchases(rng: random.Random) -> pa.RecordBatch:
    """Purchases of the same users."""
    events = batch(rng, 1, rng.choice((0, 1, 20_000)))
    return pa.RecordBatch.from_pydict(
        {
            "customer_id": events.column("entity_id"),
            "period": pa.array([rng.randrange(-9, 90) for _ in range(events.num_rows)], pa.int32()),
            "amount_minor": events.column("time"),
        }
    )


def main() -> int:
    """Run the rounds; a byte too far ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    seed = random.randrange(1 << 30)  # noqa: S311 - printed
    print(f"seed {seed}", file=sys.stderr)  # noqa: T201 - a program
    library, rng, chains = load(options.library), random.Random(seed), 0  # noqa: S311 - likewise
    for _ in range(options.rounds):
        steps, ties = rng.choice((1, 8, 9, 32)), rng.choice(TIES)
        with FunnelKernel(library, steps=steps, window=rng.choice((None, 0, 50)), ties=ties) as kernel:
            kernel.add(batch(rng, steps, rng.choice((0, 1, 20_000))) for _ in range(rng.randrange(1, 4)))
            kernel.compute()
            chains += kernel.chains().num_rows
        bought = [_purchases(rng) for _ in range(rng.randrange(1, 4))]
        summed_purchases(library, partial(iter, bought), rng.choice((1, 2, 600)))
        values = [rng.randrange(-70, 70) for _ in range(rng.randrange(1, 40))]
        low, high = rng.choice(((min(values), max(values)), (0, 63), (-64, -1)))
        all_differ(library, [pa.RecordBatch.from_pydict({"seq": values})], low, high)
    print(f"{chains} chains")  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
