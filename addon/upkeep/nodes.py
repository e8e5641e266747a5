"""Forgets a node of a fleet that does not come back, so that queries stop to warn of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.clock import iso8601
from platform_core.base.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.store.nodes import Node, NodeStore

_FEWEST = 8
"""Characters of an id that name a node."""


def forget_node(nodes: NodeStore, wanted: str) -> list[str]:
    """Remove a node by its id, the beginning of it, or its URL; return what there is to know about it.

    Raises:
        NotFound: there is no such node, or more than one.
        Conflict: it lives.
    """
    known = nodes.all()
    node = _the_one(known, wanted)
    if not nodes.forget(node.id):
        raise Conflict(
            f"The node {node.id} ({node.url}) lives: its last heartbeat was at {iso8601(node.seen_at)}.",
            hint="Stop it by SIGTERM, which stores what it holds; a dead one is taken for dead after 10 s.",
        )
    lost = sorted(node.unflushed.items())
    return [
        f"forgot the node {node.id} ({node.url}), last seen at {iso8601(node.seen_at)}",
        *(f"account {account}: {count} acknowledged batches were not stored then" for account, count in lost),
        "it was drained" if node.left else "its upload ids stay taken; if it comes back, it is a node again",
    ]


def not_in_backup(nodes: NodeStore, me: str) -> list[str]:
    """Return what a backup of the node ``me`` lacks of its fleet: the logs of the other ingest nodes."""
    others = [node for node in nodes.all() if "ingest" in node.roles and not node.left and node.id != me]
    return [
        f"not in it: what {node.url} ({node.id}) has acknowledged and not stored; at "
        f"{iso8601(node.seen_at)} these were {sum(node.unflushed.values())} batches"
        for node in others
    ]


def _the_one(known: Sequence[Node], wanted: str) -> Node:
    given = wanted.rstrip("/")
    found = [
        node
        for node in known
        if given in {node.id, node.url} or (len(given) >= _FEWEST and node.id.startswith(given))
    ]
    if len(found) != 1:
        names = ", ".join(f"{node.id} ({node.url})" for node in known) or "none"
        raise NotFound(
            f"There is no node {wanted[:140]!r}." if not found else f"{wanted[:140]!r} names several nodes.",
            hint=f"The nodes are: {names}.",
        )
    return found[0]
