"""What entries of the log say was before and after, in words and with units.

The log, and what is taken out of it, keeps values as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from jails import review
from jails.hosts.hostkey import HostKey
from jails.models import AuditEntry, AuditReview, Console, Host
from jails.plans import size
from panel import words

UNKNOWN = object()
"""What no entry has told: in none of them was this named as what was before, or came after."""
DEPTH = 4
"""So deep are values told one by one; what is deeper is JSON."""
BYTES = frozenset({"quota", "disk", "memory", "bytes", "used", "reserve", "size"})
BYTES_MAX = 1 << 80
"""From here on a number is no size, and told as it is."""
PER_CENT = frozenset({"cpu"})
SECONDS = frozenset({"seconds"})
LABELS = {
    "": "Value",
    "active": "May sign in",
    "all_jails": "Rights on all jails",
    "any_host": "All hosts",
    "any_network": "All networks",
    "any_release": "All releases",
    "any_template": "All templates",
    "become": "Root by",
    "boot": "Starts with the host",
    "break_glass": "Number of the break-glass",
    "by": "By means of",
    "children_max": "Jails inside",
    "cidr": "Network",
    "configured": "in the files",
    "console": "Number of the console",
    "cpu": "CPU",
    "drift": "Not as wanted",
    "ended": "Ended",
    "enforce_statfs": "Sees mounts",
    "host_key": "Host key",
    "hostname": "Host name",
    "jail_root": "Folder of jails",
    "how": "Where to",
    "keys": "SSH keys",
    "linked": "Account at",
    "links_withdrawn": "Links withdrawn",
    "quota": "Disk",
    "recording_sha256": "SHA-256 of the recording",
    "command_sha256": "SHA-256 of the command",
    "running": "as it runs",
    "sessions_ended": "Sessions ended",
    "signs_in": "Signs in",
    "subject": "Number of the account there",
    "tenant_role": "Role in the team",
    "uuid": "UUID",
    "username": "User name",
    "wanted": "as the panel wants it",
    "widens": "Widens the jail by",
}
FILTERS = {
    "action": "Action", "export": "As", "host": "Host", "object": "The log of", "operation": "Operation",
    "outcome": "Outcome", "q": "Text", "since": "From", "tenant": "Tenant", "until": "To", "who": "Who",
}  # fmt: skip
"""What the log, and lists, were narrowed by as they were taken out."""
MEANT: Mapping[str, Mapping[str, str]] = {
    "approval.": {
        "approval": "Number of the approval", "for": "Good for", "of": "Whose work it is", "work": "Kind of work",
    },
    "audit.export": FILTERS | {"first": "First entry", "last": "Last entry"},
    "audit.review": {"entry": "Number of the entry", "state": "Review"},
    "console.": {"as": "As the user", "bytes": "Size of the recording", "ended": "Why it ended", "seconds": "Lasted",
                 "status": "Exit status"},
    "host.": {"kind": "Reached by", "username": "As the user"},
    "jail.breakglass": {"until": "Ends"},
    "jail.export": FILTERS,
    "operation.plan": {"kind": "What was to be done"},
    "panel.": {"keys": "Files with keys"},
    "recording.": {"bytes": "Size of the recording"},
    "release.trust": {"digest": "SHA-256 of the MANIFEST", "source": "Fetched from"},
    "search.": {"query": "Looks for"},
    "session.end": {"ended": "Sessions ended"},
    "user.factor": {"app": "Authenticator app, since", "recovery_codes": "Recovery codes, since"},
}  # fmt: skip
"""Names that mean something else in entries whose action begins so."""
EVENTS = ("approval.", "audit.", "console.", "inside.", "jail.breakglass", "recording.", "session.")
"""What entries of these tell is of what happened, and no value that a thing has."""
FACTS = (
    *EVENTS, "fleet.", "invitation.use", "jail.export", "operation.plan", "panel.backup", "search.",
    "tenant.usage_export",
)  # fmt: skip
"""What they tell is not of a change."""
SHARE = "disk_on"
"""What a plan lets be used of the disk by host: a name of its own for each host."""
DRIFT = ("wanted", "configured", "running")
NAMED = frozenset({"jails", "limits", SHARE})
"""What stands in these has the name of a thing, and is written as it is."""
WORDS: Mapping[tuple[str, Any], str] = {
    ("securelevel", -1): "that of the host",
    ("enforce_statfs", 0): "all of the host",
    ("enforce_statfs", 1): "below its root",
    ("enforce_statfs", 2): "only its root",
    ("children_max", 0): "none",
    ("how", "beside"): "beside the file that is there",
    ("how", "replace"): "in place of the file that is there",
    **{("kind", str(kind)): str(kind.label) for kind in Host.Kind},
    ("export", "csv"): "CSV",
    ("export", "jsonl"): "JSON lines",
}
NO_LIMIT = frozenset({*BYTES, *PER_CENT, "processes", "jails", "addresses", "snapshots"})
"""Of these no value is no limit."""
THING = re.compile(r"[a-z]+:[0-9]+")
"""The key under which an operation's entry tells of one of its jails."""


@dataclass(frozen=True)
class Change:
    """One thing that an entry tells of. `of`: the jail it is of, where the entry is about several things."""

    name: str
    before: Any
    after: Any
    of: str = ""
    action: str = ""

    @property
    def label(self) -> str:
        return label(self.name, self.action)

    @property
    def said_before(self) -> str:
        return "" if self.before is UNKNOWN else said(self.name, self.before, self.action)

    @property
    def said_after(self) -> str:
        return "" if self.after is UNKNOWN else said(self.name, self.after, self.action)

    @property
    def mark(self) -> str:
        return mark(self.before, self.after)

    @property
    def says_something(self) -> bool:
        """What is nothing on both sides is none: but a plan without a limit is one that lets take all."""
        is_limit = self.name.rpartition(".")[2] in NO_LIMIT
        return is_limit or not (_is_empty(self.before) and _is_empty(self.after))


def mark(before: Any, after: Any) -> str:
    """`added`, `removed`, `changed` or `same`: what is not named, or empty, is not there."""
    if _is_empty(before):
        return "same" if _is_empty(after) else "added"
    if _is_empty(after):
        return "removed"
    return "same" if before == after else "changed"


def _is_empty(value: Any) -> bool:
    return value is UNKNOWN or value is None or value in ("", [], {})


def label(name: str, action: str = "") -> str:
    """`limits.children_max` → `Limits: Jails inside`. action: of the entry, where a name means something else there."""
    if meant := _meant(action).get(name):
        return meant
    parent, _, last = name.rpartition(".")
    if parent and last in DRIFT:
        return f"{parent}: {LABELS[last]}"  # a parameter of jail(8), as it is written there
    if "/" in name:
        return f"Disk of {name}"
    if action == "operation.plan" and name.startswith("parameters."):
        return f"Asked for: {name.partition('.')[2].replace('_', ' ')}"
    if name.startswith(f"{SHARE}."):
        return f"Disk on {name.partition('.')[2]}"
    said, above = [], ""
    for part in name.split("."):
        said.append(part if above in NAMED and part not in LABELS else LABELS.get(part, part.replace("_", " ")))
        above = part
    text = ": ".join(said)
    return text[:1].upper() + text[1:]


def _meant(action: str) -> Mapping[str, str]:
    return next((names for begin, names in MEANT.items() if action.startswith(begin)), {})


def said(name: str, value: Any, action: str = "") -> str:
    """A value in words; whatever it is, it is text."""
    key = name.rpartition(".")[2]
    if isinstance(value, str) and (own := _own(key, action)):
        return own(value)
    if isinstance(value, (str, int)) and (key, value) in WORDS and not isinstance(value, bool):
        return WORDS[key, value]
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_disk = "/" in name or name.startswith(f"{SHARE}.")
    if value is None:
        return "no limit" if key in NO_LIMIT or is_disk else "none"
    if isinstance(value, int):
        return _number("bytes" if is_disk else key, value)
    if isinstance(value, list):
        return ", ".join(said(key, one, action) for one in value) or "none"
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return _text(key, str(value)) or "none"


def _own(key: str, action: str) -> Callable[[str], str] | None:
    """How texts of a name are said that are no words yet."""
    if key.startswith("service "):
        return lambda text: SERVICE.get(text, text)
    found = SAID.get(key)
    return found[1] if found and action.startswith(found[0]) else None


def _text(key: str, text: str) -> str:
    """What somebody sent who was refused is in the log as well: whatever looks like a moment need not be one."""
    if not MOMENT.fullmatch(text):
        return text
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text


def _fingerprint(line: str) -> str:
    try:
        found = HostKey.parse(line)
    except ValueError:
        return line or "none"
    return f"{found.type} {found.fingerprint}"


def _filters(query: str) -> str:
    """`action=jail.destroy&host=warden1` → `Action: destroyed, Host: warden1`."""
    pairs = parse_qsl(query)
    return (
        ", ".join(f"{FILTERS.get(name, name)}: {said(name, value, 'audit.export')}" for name, value in pairs) or query
    )


def _thing(key: str) -> str:
    """`jail:3` → `jail 3`: the log has no other name for it there."""
    kind, _, pk = key.partition(":")
    return f"{words.thing(kind)} {pk}" if pk else key


def _of_kind(kind: str) -> str:
    return kind.replace("_", " ")


MOMENT = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]+)?\+00:00")
SERVICE = {
    "start": "started", "stop": "stopped", "restart": "restarted", "enable": "starts with the jail",
    "disable": "starts with the jail no more",
}  # fmt: skip
SAID: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "action": ("audit.export", lambda text: words.of_action(text)),
    "ended": ("console.close", lambda text: _label_of(Console.Ended, text)),
    "host_key": ("host.", _fingerprint),
    "kind": ("operation.plan", _of_kind),
    "object": ("audit.export", _thing),
    "query": ("search.", _filters),
    "rule": ("audit.review", lambda text: review.NAMES.get(text, text)),
    "state": ("audit.review", lambda text: _label_of(AuditReview.State, text)),
}
"""Name → the beginning of the actions in whose entries it is a word of the panel's own, and how that is said."""


def _label_of(choices: Any, value: str) -> str:
    return dict(choices.choices).get(value, value).rstrip(".")


def _number(key: str, value: int) -> str:
    if key in BYTES and 0 <= value < BYTES_MAX:
        return size(value)
    if key in PER_CENT:
        return f"{value} %"
    return _lasting(value) if key in SECONDS else str(value)


def _lasting(seconds: int) -> str:
    """`90 s`, `12 min`, `1 h 10 min`."""
    if seconds < 600:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def pairs(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, before, after) of each thing that two sides tell of, those within others by names with points."""
    if not isinstance(before or {}, dict) or not isinstance(after or {}, dict):
        yield "", UNKNOWN if before is None else before, UNKNOWN if after is None else after
        return
    yield from _within("", before or {}, after or {}, DEPTH)


def _within(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any], depth: int
) -> Iterator[tuple[str, Any, Any]]:
    for name in {**before, **after}:
        old, new = before.get(name, UNKNOWN), after.get(name, UNKNOWN)
        at = f"{path}.{name}" if path else name
        has_more = any(isinstance(one, dict) and one for one in (old, new))
        if has_more and depth and all(isinstance(one, dict) or _is_empty(one) for one in (old, new)):
            yield from _within(
                at, old if isinstance(old, dict) else {}, new if isinstance(new, dict) else {}, depth - 1
            )
        else:
            yield at, old, new


def things(entry: AuditEntry) -> dict[str, tuple[Any, Any]]:
    """`jail:3` → what the entry of an operation says of it, before and after; of another entry nothing."""
    sides = [side if isinstance(side, dict) else {} for side in (entry.before, entry.after)]
    keys = [key for key in {**sides[0], **sides[1]} if THING.fullmatch(key)] if entry.operation else []
    return {
        key: (sides[0].get(key), sides[1].get(key))
        for key in sorted(keys)
        if all(isinstance(side.get(key, {}), dict) for side in sides)
    }


def changes(entry: AuditEntry) -> list[Change]:
    """What an entry tells, thing by thing."""
    found, parts = [], things(entry)
    for before, after in parts.values():
        name = str((after or before or {}).get("name", ""))
        told = [Change(key, old, new, name, entry.action) for key, old, new in pairs(before, after)]
        found += [one for one in told if one.name != "name" or one.mark == "changed"] or told
    before, after = (_without(side, parts) for side in (entry.before, entry.after))
    if before is not None or after is not None:
        rest = [Change(key, old, new, action=entry.action) for key, old, new in pairs(before, after)]
        found += sorted(rest, key=lambda one: one.label)
    return [one for one in found if one.says_something]


def _without(side: Any, keys: Mapping[str, Any]) -> Any:
    if not isinstance(side, dict) or not keys:
        return side
    return {name: value for name, value in side.items() if name not in keys} or None
