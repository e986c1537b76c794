"""sysrc(8): asks for and edits variables of rc.conf(5), on the host or (-R, -j) in another tree."""

from __future__ import annotations

import re
from typing import Any

from jails.hosts.simulated import prison, rcconf
from jails.hosts.simulated.world import World

DEFAULTS = "/etc/defaults/rc.conf"
USAGE = "Usage: sysrc [OPTIONS] [name[[+|-]=value] ...]\nTry `sysrc --help' for more information.\n"


def main(caller: Any) -> int:
    process = World(caller)
    flags: set[str] = set()
    values: dict[str, list[str]] = {}
    words = list(process.argv[1:])
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        if word in ("--help", "--version"):
            process.err(USAGE)
            return 1
        for position, letter in enumerate(word[1:], 1):
            if letter in "fjRsL":
                values.setdefault(letter, []).append(word[position + 1 :] or (words.pop(0) if words else ""))
                break
            if letter not in "AacDdeEFhilnNqvx":
                process.err(f"Illegal option -{letter}\n{USAGE}")
                return 1
            flags.add(letter)
    for word in words:
        name = re.split(r"[%#+=-]", re.split(r":[+=-]", word)[0])[0]
        if re.search(r"[^0-9A-Za-z_]", name):
            process.err(f"sysrc: {name}: name contains characters not allowed in shell\n")
            return 1
    if not words and not flags & {"a", "A", "l"}:
        process.err(USAGE)
        return 1
    return _Sysrc(process, flags, values).go(words)


class _Sysrc:
    def __init__(self, process: Any, flags: set[str], values: dict[str, list[str]]) -> None:
        self.process = process
        self.flags = flags
        self.jid: int | None = None
        self.missing_jail = ""
        self.root = (values.get("R") or [""])[-1].rstrip("/")
        self.files = values.get("f") or []
        self.service = (values.get("s") or [""])[-1]
        if jail := (values.get("j") or [""])[-1]:
            with process.host.reading() as state:
                try:
                    self.jid = int(prison.get(state, jail, within=process.jid)["jid"])
                except prison.JailError as problem:
                    self.missing_jail = problem.message

    def _read(self, path: str) -> str | None:
        try:
            return self.process.read_text(self.root + path, jid=self.jid)  # type: ignore[no-any-return]
        except OSError:
            return None

    def _known(self) -> dict[str, str]:
        if not self.files and "D" not in self.flags:
            return rcconf.load(self._read, service=self.service)
        known = self._defaults()
        for path in self.files:
            rcconf.parse(self._read(path) or "", known)
        return known

    def _defaults(self) -> dict[str, str]:
        known = dict(rcconf.DEFAULTS)
        rcconf.parse(self._read(DEFAULTS) or "", known)
        return known

    def go(self, words: list[str]) -> int:
        if self.missing_jail:
            self.process.err(f"jexec: {self.missing_jail}\n")
            return 1
        if "l" in self.flags:
            self.process.out(" ".join(self.files or rcconf.FILES) + "\n")
            return 0
        if self.flags & {"a", "A"}:
            return self._all()
        status = 0
        for word in words:
            status = self._one(word) or status
        return status

    def _all(self) -> int:
        known = self._known()
        for name in sorted(known):
            if "A" in self.flags or self._where(name):
                self._show(name, known[name])
        return 0

    def _one(self, word: str) -> int:
        name, equals, value = word.partition("=")
        known = self._known()
        if equals:
            return self._set(name, value, known)
        if name not in known:
            if not self.flags & {"i", "q"}:
                self.process.err(f"sysrc: unknown variable '{name}'\n")
            return 1
        if "c" in self.flags:
            return 0
        if "x" in self.flags:
            return self._delete(name)
        if "F" in self.flags:
            where = self._where(name) or DEFAULTS
            self.process.out(f"{where}\n" if "n" in self.flags else f"{name}: {where}\n")
            return 0
        self._show(name, known[name])
        return 0

    def _set(self, name: str, value: str, known: dict[str, str]) -> int:
        mode = name[-1] if name[-1:] in ("+", "-") else ""
        name = name[:-1] if mode else name
        if "x" in self.flags:
            return self._delete(name)
        old = known.get(name, "")
        new = rcconf.added(old, value) if mode == "+" else rcconf.subtracted(old, value) if mode == "-" else value
        if "c" in self.flags:
            return 0 if name in known and old == new else 1
        return self._assign(name, old, new)

    def _assign(self, name: str, old: str, new: str) -> int:
        target = self._where(name) or (self.files[0] if self.files else self._default_file())
        if "v" in self.flags:
            self.process.out(f"{target}: ")
        text = self._read(target) or ""
        changed = rcconf.replaced(text, name, new)
        if self._where(name) and not rcconf.is_well_formed(changed):
            self.process.err(f"sysrc: Not overwriting `{target}' due to previous syntax errors\n")
            return 1
        try:
            self.process.write_text(self.root + target, changed, jid=self.jid)
        except OSError as problem:
            self.process.err(f"sysrc: cannot create {target}: {problem.strerror}\n")
            return 1
        after = self._known().get(name, "")
        if "N" in self.flags:
            self.process.out(f"{name}\n")
        elif "n" in self.flags:
            self.process.out(f"{old} -> {after}\n")
        elif "e" in self.flags:
            self.process.out(f'{name}="{old}" # -> "{after}"\n')
        else:
            self.process.out(f"{name}: {old} -> {after}\n")
        return 0

    def _default_file(self) -> str:
        return f"/etc/rc.conf.d/{self.service}" if self.service else rcconf.FILES[0]

    def _where(self, name: str) -> str:
        """The file whose assignment to ``name`` counts."""
        files = self.files or [*rcconf.FILES, *([f"/etc/rc.conf.d/{self.service}"] if self.service else [])]
        for path in reversed(files):
            text = self._read(path)
            if text is not None and rcconf.assigned_in(text, name):
                return path
        return ""

    def _delete(self, name: str) -> int:
        while where := self._where(name):
            text = self._read(where) or ""
            self.process.write_text(self.root + where, rcconf.removed(text, name), jid=self.jid)
        return 0

    def _show(self, name: str, value: str) -> None:
        if "v" in self.flags:
            self.process.out((self._where(name) or DEFAULTS) + ": ")
        if "e" in self.flags:
            self.process.out(f'{name}="{value}"\n')
        elif "n" in self.flags:
            self.process.out(f"{value}\n")
        elif "N" in self.flags:
            self.process.out(f"{name}\n")
        else:
            self.process.out(f"{name}: {value}\n")
