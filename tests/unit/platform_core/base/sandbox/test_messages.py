"""What travels between the library and its spawner."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.base.sandbox.bubblewrap import options
from platform_core.base.sandbox.messages import pack, receive, spec_from_wire, spec_to_wire
from platform_core.base.sandbox.spec import Bind, Network, SandboxSpec

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
specs = st.builds(
    SandboxSpec,
    argv=st.lists(texts, min_size=1, max_size=3),
    env=st.dictionaries(texts, texts, max_size=3),
    cwd=texts,
    uid=st.integers(1, 60_000),
    binds=st.lists(
        st.builds(Bind, source=texts.map(Path), target=texts, writable=st.booleans()), max_size=2
    ).map(tuple),
    hostname=texts,
    network=st.sampled_from(Network),
    memory_bytes=st.none() | st.integers(1, 1 << 40),
    max_pids=st.none() | st.integers(1, 1000),
    cpu_cores=st.none() | st.floats(0.1, 64),
)


@given(specs)
@settings(max_examples=50, deadline=None)
def test_a_spec_comes_out_as_it_went_in(spec: SandboxSpec) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.send(pack({"spec": spec_to_wire(spec)}))
        received = receive(theirs)
    assert received is not None
    assert spec_from_wire(received[0]["spec"]) == spec


FLAGS = {
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    *("--unshare-net", "--disable-userns", "--new-session", "--die-with-parent", "--clearenv"),
}
PAIRS = {"--setenv", "--bind", "--ro-bind", "--symlink", "--ro-bind-data"}


@given(specs)
@settings(max_examples=50, deadline=None)
def test_no_value_can_become_an_option_of_bubblewrap(spec: SandboxSpec) -> None:
    sources = [str(bind.source) for bind in spec.binds]
    data = options(spec, sources, etc=None, status_fd=3, passwd_fd=4, group_fd=5)
    words = [os.fsdecode(word) for word in data.split(b"\0")[:-1]]
    seen: list[tuple[str, ...]] = []
    while words:
        arity = 0 if words[0] in FLAGS else 2 if words[0] in PAIRS else 1
        option, words = words[: arity + 1], words[arity + 1 :]
        assert option[0].startswith("--")
        seen.append(tuple(option))
    assert {one[1:] for one in seen if one[0] == "--setenv"} == set(spec.env.items())
    assert [one for one in seen if one[0] == "--bind"] == [
        ("--bind", str(bind.source), bind.target) for bind in spec.binds if bind.writable
    ]
    assert (("--unshare-net",) in seen) == (spec.network is Network.NONE)
    assert seen[-2:] == [("--remount-ro", "/"), ("--chdir", spec.cwd)]


def test_descriptors_arrive_closed_on_exec() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(ours, [pack({"id": 1})], [0, 1])
        received = receive(theirs)
    assert received is not None
    assert received[0] == {"id": 1}
    assert len(received[1]) == 2
    assert not any(os.get_inheritable(one) for one in received[1])
    for one in received[1]:
        os.close(one)


def test_the_peer_s_end_is_none() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        assert receive(theirs) is None


def test_nothing_yet_is_told_apart_from_the_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with ours, theirs, pytest.raises(BlockingIOError):
        receive(theirs)
