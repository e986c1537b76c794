"""sysrc(8): asks for and edits variables of rc.conf(5), on the host or (-R, -j) in another tree."""

from __future__ import annotations

from typing import Any

from jails.hosts.simulated import prison, rcconf
from jails.hosts.simulated.world import World

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
                process.err(f"sysrc: illegal option -- {letter}\n{USAGE}")
                return 1
            flags.add(letter)
    if not words and not flags & {"a", "A"}:
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
        if not self.files:
            return rcconf.load(self._read, service=self.service)
        known: dict[str, str] = {}
        for path in self.files:
            rcconf.parse(self._read(path) or "", known)
        return known

    def go(self, words: list[str]) -> int:
        if self.missing_jail:
            self.process.err(f"jexec: {self.missing_jail}\n")
            return 1
        if self.flags & {"a", "A"}:
            return self._all()
        status = 0
        for word in words:
            status = self._one(word) or status
        return status

    def _all(self) -> int:
        known = self._known()
        for name in sorted(known):
            if "A" in self.flags or rcconf.DEFAULTS.get(name) != known[name]:
                self._show(name, known[name])
        return 0

    def _one(self, word: str) -> int:
        name, equals, value = word.partition("=")
        known = self._known()
        if "x" in self.flags:
            return self._delete(name, known)
        if not equals:
            if name not in known:
                if "i" in self.flags:
                    return 0
                self.process.err(f"sysrc: unknown variable '{name}'\n" if "q" not in self.flags else "")
                return 1
            if "F" in self.flags:
                where = self._where(name)
                self.process.out(f"{where}\n" if "n" in self.flags else f"{name}: {where}\n")
                return 0
            self._show(name, known[name])
            return 0
        mode = name[-1] if name[-1:] in "+-" else ""
        name = name.rstrip("+-") if mode else name
        old = known.get(name, "")
        new = rcconf.added(old, value) if mode == "+" else rcconf.subtracted(old, value) if mode == "-" else value
        if "c" in self.flags:
            return 0 if name in known and old == new else 1
        if mode and new == old:
            self._show(name, old) if "q" not in self.flags else None
            return 0
        return self._assign(name, old, new)

    def _assign(self, name: str, old: str, new: str) -> int:
        target = self._where(name) or (self.files[0] if self.files else self._default_file())
        text = self._read(target) or ""
        try:
            self.process.write_text(self.root + target, rcconf.replaced(text, name, new), jid=self.jid)
        except OSError as problem:
            self.process.err(f"sysrc: cannot create {target}: {problem.strerror}\n")
            return 1
        if "q" not in self.flags:
            if "n" in self.flags:
                self.process.out(f"{new}\n")
            elif "e" in self.flags:
                self.process.out(f'{name}="{new}"\n')
            else:
                self.process.out(f"{name}: {old} -> {new}\n")
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

    def _delete(self, name: str, known: dict[str, str]) -> int:
        if name not in known:
            if "i" in self.flags:
                return 0
            self.process.err(f"sysrc: unknown variable '{name}'\n")
            return 1
        while where := self._where(name):
            text = self._read(where) or ""
            self.process.write_text(self.root + where, rcconf.removed(text, name), jid=self.jid)
        return 0

    def _show(self, name: str, value: str) -> None:
        if "e" in self.flags:
            self.process.out(f'{name}="{value}"\n')
        elif "n" in self.flags:
            self.process.out(f"{value}\n")
        elif "N" in self.flags:
            self.process.out(f"{name}\n")
        else:
            self.process.out(f"{name}: {value}\n")
