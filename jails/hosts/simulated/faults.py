"""What shall go wrong on a simulated host, a list of dicts in DIR/faults.json (and in `state["faults"]` for tools).

    {"slow": seconds}             every tool takes that much longer, half of it before and half after its effect
    {"fail": {"nth": 5, "rc": 1, "stderr": "..."}}   the n-th tool from now fails without an effect; no nth: all of them
    {"cut": {"nth": 3}}           the n-th tool's whole session gets SIGKILL in the middle: half way where the tool has
                                  a middle (tar, fetch, zfs receive), else after its effect and before its output;
                                  "at": "before" or "after" chooses another moment
    {"offline": true}             nothing runs: the message of ssh(1) and status 255, as from a host that is down
    {"full": "tank"}              the pool (or "/" for the root file system) has no space left
    {"dying": seconds}            removed jails go on dying that long
    {"fetch": {"truncate": bytes}}, {"fetch": {"rate": bytes a second}}   downloads end early, or are slow

`"match": "zfs clone"` limits slow, fail and cut to tools whose words, joined by blanks, begin so or contain it (a
match that begins with `^` must be at the beginning). Shells and wrappers (sh, env, lockf, nohup, timeout) are not
counted and not hit unless the match names them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host import Host

WRAPPERS = frozenset({"sh", "env", "lockf", "nohup", "timeout", "jexec", "xargs"})
KNOWN = frozenset({"slow", "fail", "cut", "offline", "full", "dying", "fetch", "match"})

Fault = dict[str, Any]


def add(host: Host, text: str) -> None:
    """Add a fault from its JSON, or take all away with `none`. ValueError says what is wrong with it."""
    faults = [] if text == "none" else [*load(host), checked(json.loads(text))]
    with host.changing() as state:
        state["faults"] = faults
        state["dying"] = next((one["dying"] for one in reversed(faults) if "dying" in one), 0)
    if faults:
        _store(host.directory, faults)
    else:
        (host.directory / "faults.json").unlink(missing_ok=True)


def checked(fault: Any) -> Fault:
    if not isinstance(fault, dict) or not fault:
        raise ValueError('fault: expected an object such as {"slow": 0.2}')
    unknown = sorted(set(fault) - KNOWN)
    if unknown:
        raise ValueError(f"fault: {unknown[0]!r} is unknown, expected one of {', '.join(sorted(KNOWN))}")
    return fault


def load(host: Host) -> list[Fault]:
    try:
        found: list[Fault] = json.loads((host.directory / "faults.json").read_text())
    except FileNotFoundError:
        return []
    return found


def _store(directory: Path, faults: list[Fault]) -> None:
    new = directory / f"faults.json.{os.getpid()}"
    new.write_text(json.dumps(faults))
    new.replace(directory / "faults.json")


class Moment:
    """What the faults have in store for one tool. Without faults it costs one look at a file that is not there."""

    def __init__(self, host: Host, argv: list[str]) -> None:
        self.slow = 0.0
        self.failure: Fault | None = None
        self.cut = ""
        if (host.directory / "faults.json").exists():
            self._draw(host, argv)

    def _draw(self, host: Host, argv: list[str]) -> None:
        from .host import FORKS

        with FORKS:
            lock = os.open(host.directory / "faults.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                faults = load(host)
                changed = False
                for fault in faults:
                    if matches(fault, argv):
                        changed |= self._take(fault)
                if changed:
                    _store(host.directory, faults)
            finally:
                os.close(lock)

    def _take(self, fault: Fault) -> bool:
        self.slow += float(fault.get("slow", 0))
        counted = False
        for kind in ("fail", "cut"):
            what = fault.get(kind)
            if not isinstance(what, dict):
                continue
            nth = what.get("nth")
            if nth is not None:
                what["nth"], counted = nth - 1, True
            if nth not in (None, 1):
                continue
            if kind == "fail":
                self.failure = what
            else:
                self.cut = what.get("at", "middle")
        return counted

    def before(self) -> None:
        if self.slow:
            time.sleep(self.slow / 2)
        if self.cut == "before":
            die()

    def middle(self) -> None:
        if self.cut == "middle":
            die()

    def after(self) -> None:
        if self.slow:
            time.sleep(self.slow / 2)
        if self.cut:
            die()


def matches(fault: Fault, argv: list[str]) -> bool:
    words = " ".join([argv[0].rpartition("/")[2], *argv[1:]])
    match = fault.get("match")
    if match is None:
        return argv[0].rpartition("/")[2] not in WRAPPERS
    if argv[0].rpartition("/")[2] in WRAPPERS and not match.lstrip("^").startswith(words.partition(" ")[0]):
        return False
    return words.startswith(match[1:]) if match.startswith("^") else match in words


def value(faults: list[Fault], kind: str) -> Any:
    """The newest fault of a kind, or None."""
    return next((fault[kind] for fault in reversed(faults) if kind in fault), None)


_leader = 0


def lead() -> None:
    """This process is the one that an exec request started: what is cut ends with all that it started."""
    global _leader
    _leader = os.getpid()


def die() -> None:
    """SIGKILL to the whole session: the leader first, so that it cannot go on with what its child leaves."""
    from . import daemons

    own = os.getpid()
    if _leader:
        for pid in (_leader, *daemons.family(_leader)):
            if pid != own:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    os.kill(own, signal.SIGKILL)
