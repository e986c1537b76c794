"""zfs send and receive of the simulated host."""

from __future__ import annotations

from pathlib import Path

import pytest

from .machine import Machine


@pytest.fixture
def m(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "host")
    machine.zfs("create tank/a")
    machine.write("/tank/a/first", 5000)
    machine.zfs("snapshot tank/a@1")
    return machine


@pytest.fixture
def other(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "other")


def send(machine: Machine, words: str) -> bytes:
    rc, out, err = machine.run_bytes("zfs", "send", *words.split())
    assert rc == 0, err
    return out


def content(machine: Machine, path: str) -> bytes:
    return machine.host.path(path).read_bytes()


def test_full_stream_to_another_host(m: Machine, other: Machine) -> None:
    other.zfs("receive tank/copy", stdin=send(m, "tank/a@1"))
    assert content(other, "/tank/copy/first") == content(m, "/tank/a/first")
    assert other.zfs("get -H -o value guid tank/copy@1") == m.zfs("get -H -o value guid tank/a@1")


def test_incremental_stream_brings_changes_and_removals(m: Machine, other: Machine) -> None:
    other.zfs("receive tank/copy", stdin=send(m, "tank/a@1"))
    m.host.path("/tank/a/first").unlink()
    m.write("/tank/a/second")
    m.zfs("snapshot tank/a@2")
    other.zfs("receive tank/copy", stdin=send(m, "-i @1 tank/a@2"))
    assert other.exists("/tank/copy/second")
    assert not other.exists("/tank/copy/first")


def test_a_modified_destination_needs_force(m: Machine, other: Machine) -> None:
    other.zfs("receive tank/copy", stdin=send(m, "tank/a@1"))
    other.write("/tank/copy/dirty")
    m.zfs("snapshot tank/a@2")
    stream = send(m, "-i @1 tank/a@2")
    assert other.refused("receive tank/copy", stdin=stream) == (
        "cannot receive incremental stream: destination tank/copy has been modified\nsince most recent snapshot\n"
    )
    other.zfs("receive -F tank/copy", stdin=stream)
    assert not other.exists("/tank/copy/dirty")


def test_an_increment_must_fit(m: Machine, other: Machine) -> None:
    m.zfs("snapshot tank/a@2")
    m.zfs("snapshot tank/a@3")
    other.zfs("receive tank/copy", stdin=send(m, "tank/a@1"))
    err = other.refused("receive tank/copy", stdin=send(m, "-i @2 tank/a@3"))
    assert err.endswith("most recent snapshot of tank/copy does not\nmatch incremental source\n")


def test_an_existing_destination_is_kept(m: Machine) -> None:
    m.zfs("create tank/b")
    assert m.refused("receive tank/b", stdin=send(m, "tank/a@1")) == (
        "cannot receive new filesystem stream: destination 'tank/b' exists\nmust specify -F to overwrite it\n"
    )


@pytest.mark.parametrize("length", [1000, -400, -10])
def test_a_cut_stream_leaves_nothing(m: Machine, other: Machine, length: int) -> None:
    assert "incomplete stream" in other.refused("receive tank/copy", stdin=send(m, "tank/a@1")[:length])
    assert other.zfs("list -H -o name") == "tank\n"


def test_a_damaged_stream_leaves_nothing(m: Machine, other: Machine) -> None:
    stream = bytearray(send(m, "tank/a@1"))
    stream[len(stream) // 2] ^= 1
    assert "checksum mismatch" in other.refused("receive tank/copy", stdin=bytes(stream))
    assert other.zfs("list -H -o name") == "tank\n"


@pytest.mark.parametrize("stdin", [b"", b"garbage\n", None])
def test_what_does_not_begin_like_a_stream(m: Machine, stdin: bytes | None) -> None:
    stdin = send(m, "tank/a@1")[:400] if stdin is None else stdin
    assert m.refused("receive tank/b", stdin=stdin) == "cannot receive: failed to read from stream\n"


def test_replication_keeps_children_snapshots_clones_and_properties(m: Machine, other: Machine) -> None:
    m.zfs("create -o cellblock:x=1 tank/a/kid")
    m.zfs("snapshot -r tank/a@2")
    m.zfs("clone tank/a@1 tank/a/clone")
    m.zfs("snapshot -r tank/a@3")
    other.zfs("receive -u tank/copy", stdin=send(m, "-R tank/a@3"))
    got = other.zfs("list -H -t all -o name,origin -r tank/copy").split("\n")
    assert "tank/copy/clone\ttank/copy@1" in got
    assert [line.split("\t")[0] for line in got if line.startswith("tank/copy@")] == [
        "tank/copy@1",
        "tank/copy@2",
        "tank/copy@3",
    ]
    assert other.zfs("get -H -o value,source cellblock:x tank/copy/kid") == "1\treceived\n"
    assert other.zfs("list -H -o mounted tank/copy") == "no\n"


def test_options_of_receive_depend_on_the_release(m: Machine, tmp_path: Path) -> None:
    m.zfs("receive -o quota=1G tank/b", stdin=send(m, "tank/a@1"))
    assert m.number("tank/b", "quota") == 1 << 30
    old = Machine(tmp_path / "old", release="12.1-STABLE")
    outcome = old.run("zfs", "receive", "-o", "quota=1G", "tank/b", stdin=send(m, "tank/a@1"))
    assert outcome.rc == 2


def test_an_estimate_names_what_would_be_sent(m: Machine) -> None:
    kind, name, size = m.zfs("send -nvP tank/a@1").splitlines()[0].split("\t")
    assert (kind, name) == ("full", "tank/a@1")
    assert int(size) > 5000


def test_an_unknown_base_is_refused(m: Machine) -> None:
    assert m.refused("send -i @none tank/a@1") == (
        "WARNING: could not send tank/a@1:\nincremental source (tank/a@none) does not exist\n"
    )


def test_a_refused_stream_ends_its_sender(m: Machine) -> None:
    m.write("/tank/a/big", 1_000_000)
    m.zfs("snapshot tank/a@2")
    m.zfs("create tank/b")
    outcome = m.run("sh", "-c", "zfs send tank/a@2 | zfs receive tank/b")
    assert outcome.rc == 1
    assert sorted(outcome.err.splitlines()) == [
        "cannot receive new filesystem stream: destination 'tank/b' exists",
        "must specify -F to overwrite it",
        "warning: cannot send 'tank/a@2': signal received",
    ]


def test_a_received_copy_of_a_snapshot_has_its_guid_and_none_of_its_clones(m: Machine) -> None:
    m.zfs("clone tank/a@1 tank/clone")
    m.zfs("receive tank/copy", stdin=send(m, "tank/a@1"))
    assert m.zfs("get -H -o value guid tank/copy@1") == m.zfs("get -H -o value guid tank/a@1")
    assert m.zfs("get -H -o value origin tank/clone") == "tank/a@1\n"
    assert m.zfs("get -H -o value clones tank/copy@1").strip() in ("", "-")
    m.zfs("destroy tank/copy@1")
