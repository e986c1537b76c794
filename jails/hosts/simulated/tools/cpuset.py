"""cpuset(1): which CPUs a jail or a command may use."""

from __future__ import annotations

import re
from typing import Any

from jails.hosts.simulated import prison

USAGE = (
    "usage: cpuset [-l cpu-list] [-s setid] cmd ...\n"
    "       cpuset [-l cpu-list] [-s setid] -p pid\n"
    "       cpuset [-c] [-l cpu-list] -C -p pid\n"
    "       cpuset [-c] [-l cpu-list] [-j jailid | -p pid | -t tid | -s setid | -x irq]\n"
    "       cpuset -g [-cir] [-d domain | -j jailid | -p pid | -t tid | -s setid |\n"
    "              -x irq]\n"
)


def main(process: Any) -> int:
    flags: set[str] = set()
    values: dict[str, str] = {}
    words = list(process.argv[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        for position, letter in enumerate(word[1:], 1):
            if letter in "djlnpstx":
                values[letter] = word[position + 1 :] or (words.pop(0) if words else "")
                break
            if letter not in "Ccgir":
                process.err(f"cpuset: illegal option -- {letter}\n{USAGE}")
                return 1
            flags.add(letter)
    if "g" in flags:
        return _get(process, flags, values)
    if not values:
        process.err(USAGE)
        return 1
    return _set(process, values, words)


def _mask(process: Any, state: dict[str, Any], jid: int) -> list[int]:
    jail = prison.by_jid(state, jid) if jid else None
    return list(jail.get("cpus") or []) if jail and jail.get("cpus") else list(range(int(state.get("ncpu", 1))))


def _get(process: Any, flags: set[str], values: dict[str, str]) -> int:
    with process.host.reading() as state:
        what, jid, number = "pid -1", process.jid, 1
        if "j" in values:
            try:
                jail = prison.get(state, values["j"], within=process.jid)
            except prison.JailError as problem:
                process.err(f"cpuset: {problem.message}\n")
                return 1
            what, jid, number = f"jail {jail['jid']}", jail["jid"], jail["cpuset"]
        elif "s" in values:
            wanted = int(values["s"]) if values["s"].isdigit() else -1
            owner = next((row for row in state.get("jails", []) if row["cpuset"] == wanted), None)
            if owner is None and wanted != 1:
                process.err("cpuset: getaffinity: No such process\n")
                return 1
            what, jid = f"cpuset {wanted}", owner["jid"] if owner else 0
        elif "p" in values:
            what = f"pid {values['p']}"
        cpus = _mask(process, state, jid)
    if "i" in flags:
        process.out(f"{what} cpuset id: {number}\n")
        return 0
    process.out(f"{what} mask: {', '.join(map(str, cpus))}\n{what} domain policy: first-touch mask: 0\n")
    return 0


def _set(process: Any, values: dict[str, str], command: list[str]) -> int:
    text = values.get("l", "all")
    cpus = _parse(text)
    if cpus is None:
        process.err(f"cpuset: Malformed list {text}\n")
        return 1
    with process.host.changing() as state:
        try:
            jail = prison.get(state, values["j"], within=process.jid) if "j" in values else None
        except prison.JailError as problem:
            process.err(f"cpuset: {problem.message}\n")
            return 1
        ncpu = int(state.get("ncpu", 1))
        if text == "all":
            cpus = list(range(ncpu))
        allowed = _mask(process, state, jail["jid"] if jail else process.jid)
        if not cpus or not set(cpus) <= set(allowed):
            process.err("cpuset: setaffinity: Invalid argument\n")
            return 1
        if jail:
            jail["cpus"] = cpus
    return process.run(command) if command else 0


def _parse(text: str) -> list[int] | None:
    if text == "all":
        return []
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            return None
        cpus |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(cpus)
