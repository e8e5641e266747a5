"""Carries out a planned merge: checked inputs in, finished files out, in bounded memory.

Each input is checked before one of its rows is believed: its bytes against the digest in its name, its pages
against their checksums while they are read, its rows against the log's count. A damaged file is left where it
is and never merged: its damage must not be copied into a file that looks sound.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.models.objects import DamagedObject
from addon.warehouse.delta import DataFile
from addon.warehouse.merge import Damaged, Surveyed, affordable, merged, survey
from addon.warehouse.merge_plan import FULL_BYTES, WINDOW_S, Candidate, Merge, cuts, merged_name
from addon.warehouse.merge_sink import Draft, MergeSink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from addon.models.objects import ObjectStore
    from addon.warehouse.schema import TableSchema

MEMORY_BYTES = 96 << 20
"""What the open inputs of a merge may hold; the row group that is being written comes on top."""
DIGEST_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 at the end of its name; another writer's names have none."""
_DIGEST = re.compile(rf"-([0-9a-f]{{{DIGEST_DIGITS}}})\.parquet$")


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge's result: the files that were merged, and the stored ones that hold their rows."""

    old: Sequence[Candidate]
    new: Sequence[DataFile]

    @property
    def written(self) -> int:
        """How many bytes were written."""
        return sum(file.size for file in self.new)


def carry_out(
    objects: ObjectStore, prefix: str, plan: Merge, schema: TableSchema, *, full_bytes: int = FULL_BYTES
) -> Merged:
    """Merge files of the table in the folder ``prefix``; nothing is committed.

    As many of the plan's files are merged, oldest first, as fit into the memory; at least two.

    Raises:
        Damaged: a file does not hold what the log says.
    """
    paths = [objects.path(f"{prefix}/{file.name}") for file in plan.files]
    with objects.lease() as lease:
        try:
            lease.fetch(paths)
        except DamagedObject as error:
            raise Damaged(error.name, "its bytes are not those that were written") from error
        surveyed = [checked(file, path) for file, path in zip(plan.files, paths, strict=True)]
        count = affordable(surveyed, MEMORY_BYTES)
        part, chosen = Merge(plan.files[:count]), surveyed[:count]
        sink = MergeSink(objects.scratch, _begins(part, chosen), full_bytes)
        try:
            for rows in merged(chosen, schema):
                sink.add(rows)
            drafts = sink.close()
            if sum(draft.rows for draft in drafts) != part.rows:
                raise RuntimeError("a merge lost or doubled rows")  # noqa: TRY301  (the drafts must go)
            return Merged(part.files, [stored(objects, prefix, part, draft) for draft in drafts])
        except BaseException:
            sink.abandon()
            raise


def _begins(plan: Merge, files: Sequence[Surveyed]) -> list[int]:
    rows: Counter[int] = Counter()
    for file in files:
        rows.update(file.windows)
    return [window * WINDOW_S for window in cuts(sorted(rows.items()), plan.size, plan.generation)]


def stored(
    objects: ObjectStore, prefix: str, plan: Merge, draft: Draft, *, generation: int | None = None
) -> DataFile:
    """Give a draft its place in the table's folder; ``generation`` is the next one unless told otherwise."""
    begin = merged_name(plan, uuid.uuid4().hex[:DIGEST_DIGITS], generation)
    name = f"{begin}-{draft.digest[:DIGEST_DIGITS]}.parquet"
    size = objects.put_file(f"{prefix}/{name}", draft.path)
    return DataFile(name, size, draft.rows, draft.low, draft.high)


def checked(file: Candidate, path: Path) -> Surveyed:
    """Survey a file whose bytes are the ones that were written, and whose rows are those of the log.

    Raises:
        Damaged: they are not.
    """
    match = _DIGEST.search(file.name)
    if match is not None and not _digest(path).startswith(match[1]):
        raise Damaged(file.name, "its bytes are not those that were written")
    surveyed = survey(path, WINDOW_S)
    if surveyed.rows != file.rows:
        raise Damaged(file.name, f"it has {surveyed.rows} rows, not {file.rows}")
    return surveyed


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
