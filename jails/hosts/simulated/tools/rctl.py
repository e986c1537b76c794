"""rctl(8): limits of resources. Rules outlive their jail and need none."""

from __future__ import annotations

import re
from typing import Any

from jails.hosts.simulated import clock, daemons, prison

from . import processes

USAGE = "usage: rctl [ -h ] [-a rule | -l filter | -r filter | -u filter | filter]\n"
DISABLED = "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable\n"
RESOURCES = (
    "cputime datasize stacksize coredumpsize memoryuse memorylocked maxproc openfiles vmemoryuse pseudoterminals "
    "swapuse nthr msgqqueued msgqsize nmsgq nsem nsemop nshm shmsize wallclock pcpu readbps writebps readiops writeiops"
).split()
ACTIONS = {"deny", "log", "devctl", "throttle"} | {
    f"sig{name}"
    for name in "hup int quit ill trap abrt emt fpe kill bus segv sys pipe alrm term urg stop tstp "
    "cont chld ttin ttou io xcpu xfsz vtalrm prof winch info usr1 usr2 thr".split()
}
SUBJECTS = {"process", "user", "loginclass", "jail"}
BYTES = {"datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "vmemoryuse", "swapuse", "msgqsize"} | {
    "shmsize",
    "readbps",
    "writebps",
}
SLOPPY = frozenset("pseudoterminals swapuse msgqqueued msgqsize nmsgq nsem nshm shmsize".split())
"""What is not counted for a process by itself."""
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}


class _Refused(Exception):
    pass


def main(process: Any) -> int:
    mode, human, words = "", False, []
    arguments = list(process.argv[1:])
    while arguments:
        word = arguments.pop(0)
        if not word.startswith("-") or word == "-":
            words = [word, *arguments]
            break
        for letter in word[1:]:
            if letter in "hn":
                human = human or letter == "h"
            elif letter in "alru":
                mode = letter
            else:
                process.err(f"rctl: illegal option -- {letter}\n{USAGE}")
                return 1
    if mode and not words:
        process.err(USAGE)
        return 1
    with process.host.reading() as state:
        if not state.get("racct", True):
            process.err(DISABLED)
            return 1
    status = 0
    for word in words or [""]:
        try:
            _one(process, mode, word, human)
        except _Refused as refusal:
            process.err(f"rctl: {refusal}\n")
            status += 1
    return status


def _one(process: Any, mode: str, word: str, human: bool) -> None:
    if mode == "a":
        _add(process, word)
    elif mode == "r":
        _remove(process, word)
    elif mode == "u":
        _usage(process, word, human)
    elif mode == "l":
        _parse(word)
        raise _Refused(f"failed to get limits for '{word}': Operation not supported")
    else:
        _list(process, word, human)


def _parse(text: str) -> dict[str, str]:
    """``subject:id:resource:action=amount/per`` as rctl(8) itself takes it apart before asking the kernel."""
    if text and ":" not in text:
        raise _Refused(f"malformed rule '{text}': missing subject")
    subject, _, rest = text.partition(":")
    ident, _, rest = rest.partition(":")
    resource, _, rest = rest.partition(":")
    action, equals, amount = rest.partition("=")
    amount, _, per = amount.partition("/")
    if subject == "user" and ident and not ident.isdigit() and ident not in ("root", "nobody", "daemon", "operator"):
        raise _Refused(f"malformed rule '{text}': unknown user '{ident}'")
    if equals and not re.fullmatch(r"-?\d+[kKmMgGtTpPeE]?[bB]?", amount):
        raise _Refused(f"malformed rule '{text}': invalid numeric value '{amount}'")
    return {
        "subject": subject,
        "id": ident,
        "resource": resource,
        "action": action,
        "amount": str(_number(amount)) if equals else "",
        "per": per,
    }


def _number(text: str) -> int:
    match = re.fullmatch(r"(-?\d+)([kmgtpe]?)b?", text.lower())
    return int(match[1]) << _UNITS.get(match[2], 0) if match else 0


def _add(process: Any, text: str) -> None:
    rule = _parse(text)
    invalid = (
        rule["subject"] not in SUBJECTS
        or not rule["id"]
        or rule["resource"] not in RESOURCES
        or rule["action"] not in ACTIONS
        or not rule["amount"]
        or rule["per"] not in ("", *SUBJECTS)
        or (rule["action"] == "throttle" and not rule["resource"].endswith(("bps", "iops")))
    )
    if invalid:
        raise _Refused(f"failed to add rule '{text}': Invalid argument")
    if int(rule["amount"]) < 0:
        raise _Refused(f"failed to add rule '{text}': Result too large")
    rule["per"] = rule["per"] or rule["subject"]
    with process.host.changing() as state:
        rules = state.setdefault("rctl", [])
        same = ("subject", "id", "resource", "action", "per")
        rules[:] = [old for old in rules if any(old[key] != rule[key] for key in same)]
        rules.append(rule)


def _matches(rule: dict[str, str], wanted: dict[str, str]) -> bool:
    return all(rule[key] == value for key, value in wanted.items() if value)


def _remove(process: Any, text: str) -> None:
    wanted = _parse(text)
    with process.host.changing() as state:
        rules = state.setdefault("rctl", [])
        kept = [rule for rule in rules if not _matches(rule, wanted)]
        found = len(kept) < len(rules)
        state["rctl"] = kept
    if not found:
        raise _Refused(f"failed to remove rule '{text}': No such process")


def _list(process: Any, text: str, human: bool) -> None:
    wanted = _parse(text)
    with process.host.reading() as state:
        rules = [rule for rule in state.get("rctl", []) if _matches(rule, wanted)]
    for rule in _kernel_order(rules):
        per = "" if rule["per"] == rule["subject"] else f"/{rule['per']}"
        amount = _humanize(int(rule["amount"])) if human and rule["resource"] in BYTES else rule["amount"]
        process.out(f"{rule['subject']}:{rule['id']}:{rule['resource']}:{rule['action']}={amount}{per}\n")


def _kernel_order(rules: list[dict[str, str]]) -> list[dict[str, str]]:
    """The kernel puts each new rule first; jails known later come first too."""
    order: list[tuple[str, str]] = []
    for rule in rules:
        if (rule["subject"], rule["id"]) not in order:
            order.append((rule["subject"], rule["id"]))
    position = {key: number for number, key in enumerate(order)}
    numbered = list(enumerate(rules))
    numbered.sort(key=lambda item: (-position[item[1]["subject"], item[1]["id"]], -item[0]))
    return [rule for _, rule in numbered]


def _humanize(number: int) -> str:
    """humanize_number(3) as rctl -h uses it: at most five columns, no fraction."""
    units = ["", "K", "M", "G", "T", "P", "E"]
    step = 0
    while step + 1 < len(units) and len(str(number)) > 4:
        number, step = round(number / 1024), step + 1
    return f"{number}{units[step]}"


def _usage(process: Any, text: str, human: bool) -> None:
    wanted = _parse(text)
    if wanted["subject"] not in SUBJECTS or not wanted["id"]:
        raise _Refused(f"failed to show resource consumption for '{text}': Invalid argument")
    with process.host.reading() as state:
        used = _consumption(process, state, wanted)
    if used is None:
        raise _Refused(f"failed to show resource consumption for '{text}': No such process")
    for resource in RESOURCES:
        if wanted["subject"] == "process" and resource in SLOPPY:
            continue
        amount = used.get(resource, 0)
        shown = _humanize(amount) if human and resource in BYTES else str(amount)
        process.out(f"{resource}={shown}\n")


def _consumption(process: Any, state: dict[str, Any], wanted: dict[str, str]) -> dict[str, int] | None:
    """What the processes of a subject use. A jail nobody knows uses nothing; a process must be there."""
    subject, ident = wanted["subject"], wanted["id"]
    if subject == "jail":
        try:
            jail = prison.get(state, ident)
        except prison.JailError:
            return {}
        return _used_by(daemons.running(state, jail["jid"]))
    rows = [row for row in processes.rows(process, state) if not row["command"].startswith("[")]
    if subject == "process":
        rows = [row for row in rows if str(row["pid"]) == ident]
        return _used_by(rows) if rows else None
    if subject == "user":
        ident = {"0": "root"}.get(ident, ident)
        rows = [row for row in rows if row["user"] == ident]
    return _used_by(rows)


def _used_by(rows: list[dict[str, Any]]) -> dict[str, int]:
    count, now = len(rows), clock.now()
    return {
        "cputime": int(sum(daemons.cpu_seconds(row, now) for row in rows)),
        "maxproc": count,
        "nthr": count,
        "datasize": 2183168 * count,
        "memoryuse": sum(daemons.memory(row, now) for row in rows),
        "vmemoryuse": 9228288 * count,
        "openfiles": 7 * count,
        "wallclock": int(sum(max(0, clock.now() - float(row["started"])) for row in rows)),
    }


def may_fork(state: dict[str, Any], jid: int) -> bool:
    """Whether the rules let a jail have one more process."""
    jail = prison.by_jid(state, jid)
    if jail is None or not state.get("racct", True):
        return True
    limits = [
        int(rule["amount"])
        for rule in state.get("rctl", [])
        if (rule["subject"], rule["id"], rule["resource"], rule["action"]) == ("jail", jail["name"], "maxproc", "deny")
    ]
    return not limits or len(daemons.running(state, jid)) < min(limits)
