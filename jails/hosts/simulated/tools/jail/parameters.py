"""Parameters: jail(8)'s own become commands, the kernel's go to jail_set(2) (config.c, jail.c)."""

from __future__ import annotations

import re
from typing import Any

from jails.hosts.simulated import network, prison
from jails.hosts.simulated.process import Exit

from .conf import INTERNAL, PERSIST, ConfJail, positive, quote, same_option, strerror
from .queues import Queues


class Parameters(Queues):
    """What is done with the parameters of a jail."""

    def _check(self, jail: ConfJail) -> bool:
        """check_intparams(): jail(8)'s own parameters; those for addresses and fstab become commands."""
        fine = True
        for name, values in jail.params:
            kind = INTERNAL.get(positive(name), "")
            if kind == "bool" and values and not re.fullmatch(r"(?i)true|false|[+-]?\d+", values[-1]):
                self._warn(jail, f'{name}: unknown boolean value "{values[-1]}"')
                fine = False
            if kind == "int" and values and not re.fullmatch(r"\s*[+-]?\d+", values[-1]):
                self._warn(jail, f'{name}: non-integer value "{values[-1]}"')
                fine = False
        if jail.true("ip_hostname") and (hostname := jail.text("host.hostname")):
            fine = self._addresses_of(jail, hostname) and fine
        for family in ("ip4", "ip6"):
            self._interfaces(jail, family)
        if fstabs := jail.find("mount.fstab"):
            for filename in filter(None, fstabs[1]):
                fine = self._fstab(jail, filename) and fine
        if not fine:
            self._failed(jail)
        return fine

    def _addresses_of(self, jail: ConfJail, hostname: str) -> bool:
        address = "127.0.0.1" if hostname == "localhost" else self.process.resolve(hostname)
        if address is None:
            self._warn(jail, f"host.hostname {hostname}: hostname nor servname provided, or not known")
            return False
        jail.add("ip4.addr", [address])
        return True

    def _interfaces(self, jail: ConfJail, family: str) -> None:
        found = jail.find(f"{family}.addr")
        if not found:
            return
        default = jail.text("interface")
        plain = []
        for value in found[1]:
            if "|" in value or default:
                jail.internal.setdefault(f"_{family}", []).append(value)
            plain.append(value.rpartition("|")[2].partition("/")[0].partition(" ")[0])
        found[1][:] = plain

    def _fstab(self, jail: ConfJail, filename: str) -> bool:
        try:
            text = self.process.read_text(filename)
        except OSError as problem:
            self._warn(jail, f"mount.fstab: {filename}: {strerror(problem)}")
            return False
        lines = [line.partition("#")[0] for line in text.splitlines()]
        jail.internal.setdefault("_fstab", []).extend(lines)
        return True

    def _import(self, jail: ConfJail) -> bool:
        fine = True
        for name, values in jail.params:
            if positive(name) in INTERNAL:
                continue
            try:
                text = None if not values else ",".join(values) if name.endswith("4.addr") else values[-1]
                if name == "ip6.addr" and values:
                    text = ",".join(values)
                known, value = prison.import_value(name, text, self.release)
            except prison.JailError as problem:
                self._warn(jail, problem.message)
                fine = False
                continue
            jail.imported[known] = value
        if not fine:
            self._failed(jail)
        return fine

    def _running_of(self, jail: ConfJail, *, dying: bool) -> int:
        if jid := jail.text("jid"):
            return self._running(jid, dying=dying) if re.fullmatch(r"0*[1-9]\d*", jid) else -1
        name = jail.text("name")
        return self._running(name, dying=dying) if name else -1

    def _create(self, jail: ConfJail) -> bool:
        path = jail.text("path")
        if path is not None:
            if jail.name is not None and not path.startswith("/"):
                self._warn(jail, f"path {path}: not an absolute pathname")
                return False
            kind = self.process.stat(path)
            if kind != "dir":
                self._warn(jail, f"path {path}: {'Not a directory' if kind else 'No such file or directory'}")
                return False
        wanted = dict(jail.imported)
        commands = any(jail.find(name) for name in ("exec.start", "command", "exec.poststart"))
        borrowed = not jail.true("persist") and commands
        if borrowed:
            wanted["persist"] = True
        if path is not None:
            wanted["path"] = self.process.realpath(path)
        failure = ""
        with self.host.changing() as state:
            try:
                made = prison.create(state, wanted, self.release, within=self.process.jid)
                jail.jid = made["jid"]
                if made["set"].get("vnet") == "new":
                    network.make_loopback(state, made["jid"])
            except prison.JailError as problem:
                failure = problem.message
                jail.jid = -1
        names: list[tuple[str, list[str]]] = [("persist", [])] if borrowed else []
        names += [row for row in jail.params if not (borrowed and same_option(row[0], "persist"))]
        self._note_set(jail, "JAIL_CREATE", names, failure)
        if failure:
            self._warn(jail, failure)
            return False
        if borrowed:
            jail.flags |= PERSIST
        return True

    def _note_set(self, jail: ConfJail, what: str, rows: list[tuple[str, list[str]]], failure: str) -> None:
        if self.verbose <= 0:
            return
        text = f"jail_set({what})"
        for name, values in rows:
            if positive(name) not in INTERNAL:
                text += f" {name}" + (f"={quote(','.join(values))}" if values else "")
        self._note(jail, text + (f": {failure}" if failure else "") + "\n")

    def _clear_persist(self, jail: ConfJail) -> None:
        if not jail.flags & PERSIST:
            return
        jail.flags &= ~PERSIST
        self.process.drop_persist(jail.jid)
        if self.verbose > 0:
            self._note(jail, f"jail_set(JAIL_UPDATE) jid={jail.jid} nopersist\n")

    def _fixed(self, jail: ConfJail) -> dict[str, Any]:
        known = prison.parameters(self.release)
        return {name: value for name, value in jail.imported.items() if known[name].access == "RDTUN" and name != "jid"}

    def _fixed_differs(self, jail: ConfJail) -> str:
        """The first parameter that is fixed at creation and would have to change."""
        with self.host.reading() as state:
            row = prison.by_jid(state, jail.jid)
            now = prison.values(state, row, self.release) if row else {}
        return next((name for name, value in self._fixed(jail).items() if now.get(name) != value), "")

    def _update(self, jail: ConfJail) -> bool:
        differs = self._fixed_differs(jail)
        if differs == "vnet" and prison.version(self.release)[0] < 13:
            raise Exit(255)  # jail(8) of 12.1 dies of a segmentation fault here
        if differs:
            self._warn(jail, f"{differs} cannot be changed after creation")
            self._failed(jail)
            return False
        fixed = {*self._fixed(jail), "jid"}
        wanted = {name: value for name, value in jail.imported.items() if name not in fixed}
        if not wanted:
            return True
        failure = ""
        with self.host.changing() as state:
            row = prison.by_jid(state, jail.jid)
            try:
                if row is None:
                    raise prison.JailError(f"jail {jail.jid} not found", "ENOENT")
                prison.update(state, row, wanted)
            except prison.JailError as problem:
                failure = problem.message
        rows = [("jid", [str(jail.jid)]), *(row for row in jail.params if row[0] not in fixed)]
        self._note_set(jail, "JAIL_UPDATE", rows, failure)
        if failure:
            self._warn(jail, failure)
            self._failed(jail)
            return False
        if wanted.get("persist") is False:
            self.process.drop_persist(jail.jid)
        return True
