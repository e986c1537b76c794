"""jexec(8): runs a command inside a jail."""

from __future__ import annotations

from typing import Any

from jails.hosts.simulated import prison
from jails.hosts.simulated.process import NotFound
from jails.hosts.simulated.world import World

USAGE_12 = "usage: jexec [-l] [-u username | -U username] jail [command ...]\n"
USAGE_14 = "usage: jexec [-l] [-d working-directory] [-e name=value] [-u username | -U username] jail [command ...]\n"
KEPT = ("TERM",)

_ABSENT = "No such file or directory"


def main(caller: Any) -> int:
    process = World(caller)
    options: dict[str, str] = {}
    given: list[str] = []
    clean = False
    words = list(process.argv[1:])
    modern = process.release_at_least(14)
    usage = USAGE_14 if modern else USAGE_12
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        for position, letter in enumerate(word[1:], 1):
            if letter in ("uUed" if modern else "uUn"):
                value = word[position + 1 :] or (words.pop(0) if words else "")
                given += [value] if letter == "e" else []
                options[letter] = value
                break
            if letter != "l":
                process.err(f"jexec: illegal option -- {letter}\n{usage}")
                return 1
            clean = True
    if not words or {"u", "U"} <= set(options):
        process.err(usage)
        return 1
    return _enter(process, words[0], words[1:], options, clean, given)


def _enter(
    process: World, which: str, command: list[str], options: dict[str, str], clean: bool, given: list[str]
) -> int:
    if which == "0" and not process.jid:
        process.err("jexec: jail_attach(0): Invalid argument\n")
        return 1
    with process.host.reading() as state:
        try:
            jail = prison.get(state, which, within=process.jid)
        except prison.JailError as problem:
            process.err(f"jexec: {problem.message}\n")
            return 1
    name = options.get("u") or options.get("U") or ("root" if clean else "")
    env, cwd = dict(process.env), "/"
    entry = None
    if name:
        entry = process.user(name, None if "u" in options else jail["jid"])
        if entry is None and options:
            known = "u" in options or process.has_accounts(jail["jid"])
            process.err(f"jexec: {name}: no such user\n" if known else f"jexec: getpwnam: {name}: {_ABSENT}\n")
            return 1
        entry = entry or ["root", "*", "0", "0", "", "/root", "/bin/sh"]
    if clean and entry:
        env = _clean_environment(process.env, entry)
        cwd = entry[5]
        if not process.enterable(jail["path"], cwd):
            process.err(f"jexec: chdir: {cwd}: No such file or directory\n")
            return 1
    env |= dict(word.split("=", 1) for word in given if "=" in word)
    cwd = options.get("d", cwd)
    argv = command or [entry[6] if entry and entry[6] else "/bin/sh"]
    try:
        status = process.attach(
            argv, env=env, cwd=cwd, root=jail["path"], jid=jail["jid"], user=entry[0] if entry else None, replaces=True
        )
    except prison.JailError as problem:
        process.err(f"jexec: {problem.message}\n")
        return 1
    except NotFound as problem:
        process.err(f"jexec: execvp: {argv[0]}: {problem.words}\n")
        return 1
    return int(status)


def _clean_environment(old: Any, entry: list[str]) -> dict[str, str]:
    home = entry[5]
    env = {
        "SHELL": entry[6] or "/bin/sh",
        "HOME": home,
        "USER": entry[0],
        "BLOCKSIZE": "K",
        "MAIL": f"/var/mail/{entry[0]}",
        "PATH": f"/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:{home}/bin",
    }
    return env | {name: old[name] for name in KEPT if name in old}
