"""What a plan is made of: steps as data.

A step says what it is for, what it does (an action), how one knows that it is done and that it was *ours* (a check),
how it is undone, and how long it may take. Nothing here runs anything. Everything turns into JSON and back, because
steps are shown, confirmed by digest, sealed and resumed by a later release (`VERSION`).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from jails.freebsd import sh
from jails.freebsd.command import Argv, Pipeline

VERSION = 2
"""Of the step format. Raise it when a stored step could no longer be read as it was meant."""

CAPTURE = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
"""How an argv names a value captured by an earlier step: `${epair}`."""


def digest(text: str | bytes) -> str:
    """SHA-256 in hexadecimal, of UTF-8."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


@dataclass(frozen=True)
class Run:
    """Run a pipeline. `captures` maps a name to a regular expression whose first group is cut from stdout."""

    kind: ClassVar[str] = "run"
    argvs: tuple[Argv, ...]
    stdin: str = ""
    stdin_is_secret: bool = False
    captures: tuple[tuple[str, str], ...] = ()

    def pipeline(self, captured: Mapping[str, str] | None = None) -> Pipeline:
        values = captured or {}
        argvs = tuple(tuple(_fill(word, values) for word in argv) for argv in self.argvs)
        return Pipeline(argvs, self.stdin.encode())

    def shown(self) -> str:
        return " | ".join(" ".join(_readable(word) for word in argv) for argv in self.argvs)


@dataclass(frozen=True)
class WriteFile:
    """Write a whole file: new (`before` is None and nothing may be there) or in place of exactly `before`."""

    kind: ClassVar[str] = "write"
    path: str
    content: str
    before: str | None = None
    mode: str = "0644"

    def diff(self) -> str:
        return unified_diff(self.before or "", self.content, self.path, new=self.before is None)

    def shown(self) -> str:
        return f"write {self.path}"


@dataclass(frozen=True)
class RemoveFile:
    """Remove a file whose content is exactly `before`."""

    kind: ClassVar[str] = "remove"
    path: str
    before: str

    def diff(self) -> str:
        return unified_diff(self.before, "", self.path, gone=True)

    def shown(self) -> str:
        return f"rm {self.path}"


@dataclass(frozen=True)
class BootList:
    """Change which jails start at boot, without changing any other jail's boot.

    Several operations change the one `jail_list` of a host, so the commands are made anew from /etc/rc.conf when the
    step runs, under the host's rc.conf lock. What is confirmed is the change (`add`, `remove`, `rename` as pairs of old
    and new name, `destroyed` for jails whose configuration goes as well); `now` shows the commands and both lists as
    they were when the plan was made, and is left out of the digest. So is `order`, the list in which what is added
    finds its old place again.
    """

    kind: ClassVar[str] = "boot"
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    now: tuple[str, ...] = field(default=(), metadata={"volatile": True})
    rename: tuple[tuple[str, str], ...] = ()
    destroyed: tuple[str, ...] = ()
    order: tuple[str, ...] = field(default=(), metadata={"volatile": True})

    def shown(self) -> str:
        """The commands of `now`; without them, as of an undo, the change in words."""
        add = [f"# {name} starts at boot" for name in self.add]
        remove = [f"# {name} does not start at boot" for name in (*self.remove, *self.destroyed)]
        rename = [f"# {new} starts at boot in the place of {old}" for old, new in self.rename]
        return "\n".join(self.now or (*add, *remove, *rename)) or "nothing to change in /etc/rc.conf"


Action = Run | WriteFile | RemoveFile | BootList
ACTIONS: dict[str, type[Any]] = {cls.kind: cls for cls in (Run, WriteFile, RemoveFile, BootList)}


@dataclass(frozen=True)
class Check:
    """A question to the host: `kind` names an entry of jails.operations.checks, `args` are its arguments."""

    kind: str
    args: tuple[str, ...] = ()
    negated: bool = False


@dataclass(frozen=True)
class Undo:
    """How a step is undone: only where `only_if` holds, which proves that what would go is this operation's own."""

    action: Action
    only_if: tuple[Check, ...] = ()
    tolerant: bool = False
    """A failure leaves something harmless that others use by now (a shared parent dataset): not a failed rollback."""
    after_failure: bool = True
    """False: not where the command itself ended with an error, which proves that it has had no effect. For what no
    check can tell from somebody else's (a running jail)."""


@dataclass(frozen=True)
class Step:
    """One step of a plan. `seconds` is its time limit; `subject` names the jail it is for in a bulk operation.

    done_when: all of these hold when the step has had its effect, and the effect is this operation's.
    ensure: the effect may be there already, made by anyone (a parent directory): then the step is skipped.
    again: how to clear a half-done attempt before the step is run once more, after a worker died in it.
    irreversible: why it cannot be undone; empty when it can be, or when there is nothing to undo.
    resources: locks taken for this step alone, on top of the operation's.
    independent: a failure is the subject's own. What was done for it is undone and the rest of it left out; the steps
    of other subjects go on, and the operation ends as failed once all have been tried.
    """

    key: str
    purpose: str
    action: Action
    done_when: tuple[Check, ...] = ()
    undo: tuple[Undo, ...] = ()
    again: tuple[Undo, ...] = ()
    seconds: int = 120
    ensure: bool = False
    changes: bool = True
    irreversible: str = ""
    subject: str = ""
    resources: tuple[str, ...] = ()
    progress: str = ""
    """A file on the host whose size, over `progress_total` bytes, is the progress of this step."""
    progress_total: int = 0
    progress_of: str = ""
    """The captured value that has the total, where no plan can know it; anything but a number means unknown."""
    attempts: int = 1
    """How often to try, a few seconds apart, when the command fails (a dataset that stays busy for a moment)."""
    independent: bool = False
    requires: tuple[Check, ...] = ()
    """All of these must hold right before each try: what the command would change is still what the plan was made for.
    For what nothing brings back."""
    in_use: str = ""
    """A mount point: who has files open there is named when the step fails."""


@dataclass(frozen=True)
class Plan:
    """Ordered steps with what a person must know before confirming them.

    summary: what changes, in at most three lines. warnings: what cannot be undone or needs care.
    loses: what will be gone, by name. sizes: the same with sizes, only for display. notes: what is so for the moment
    (a jail that is still dying), only for display as well.
    resources: the locks the whole operation needs.
    """

    title: str
    steps: tuple[Step, ...]
    summary: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    sizes: tuple[str, ...] = field(default=(), metadata={"volatile": True})
    notes: tuple[str, ...] = field(default=(), metadata={"volatile": True})
    resources: tuple[str, ...] = ()
    result: tuple[tuple[str, str], ...] = ()
    """What the operation's `finish` needs to know of the plan, as names and values (a chosen address)."""
    remembers: tuple[tuple[str, str], ...] = field(default=(), metadata={"volatile": True})
    """The same where it may differ in another plan of the same meaning: how a file was that others write too."""

    def digest(self) -> str:
        """What a confirmation is bound to: everything that will run, without what is only shown."""
        data = {"version": VERSION, "plan": to_data(self, volatile=False)}
        return digest(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True))


def to_data(value: Any, *, volatile: bool = True) -> Any:
    """Dataclasses of this module as JSON values; `volatile=False` leaves out what is only for display."""
    if is_dataclass(value) and not isinstance(value, type):
        data = {
            f.name: to_data(getattr(value, f.name), volatile=volatile)
            for f in fields(value)
            if volatile or not f.metadata.get("volatile")
        }
        if hasattr(value, "kind") and type(value) is not Check:
            data["kind"] = value.kind
        return data
    if isinstance(value, (tuple, list)):
        return [to_data(item, volatile=volatile) for item in value]
    return value


def action_from_data(data: Mapping[str, Any]) -> Action:
    cls = ACTIONS[data["kind"]]
    action: Action = cls(**{name: _tuples(value) for name, value in data.items() if name != "kind"})
    return action


def check_from_data(data: Mapping[str, Any]) -> Check:
    return Check(data["kind"], tuple(data["args"]), data["negated"])


def undo_from_data(data: Mapping[str, Any]) -> Undo:
    only_if = tuple(check_from_data(check) for check in data["only_if"])
    return Undo(action_from_data(data["action"]), only_if, data["tolerant"], data.get("after_failure", True))


def step_from_data(data: Mapping[str, Any]) -> Step:
    """The inverse of to_data for one step."""
    values = {name: value for name, value in data.items() if name != "version"}
    values["action"] = action_from_data(data["action"])
    for name in ("done_when", "requires"):
        values[name] = tuple(check_from_data(check) for check in data.get(name, ()))
    for name in ("undo", "again"):
        values[name] = tuple(undo_from_data(undo) for undo in data[name])
    values["resources"] = tuple(data["resources"])
    return Step(**values)


def plan_from_data(data: Mapping[str, Any]) -> Plan:
    values = {name: _tuples(value) for name, value in data.items()}
    values["steps"] = tuple(step_from_data(step) for step in data["steps"])
    return Plan(**values)


def unified_diff(before: str, after: str, path: str, *, new: bool = False, gone: bool = False) -> str:
    lines: Iterable[str] = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        "/dev/null" if new else path,
        "/dev/null" if gone else path,
        lineterm="",
    )
    return "\n".join(lines)


def _fill(word: str, values: Mapping[str, str]) -> str:
    return CAPTURE.sub(lambda match: values[match[1]], word)


def _readable(word: str) -> str:
    return CAPTURE.sub(lambda match: "$" + match[1], word) if CAPTURE.fullmatch(word) else sh.quote(word)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value
