"""pw(8): users and groups in /etc/master.passwd, /etc/passwd and /etc/group of the host or of a tree (-R)."""

from __future__ import annotations

import os
import re
import secrets

from jails.hosts.simulated.process import Process

from . import access

_NOUSER, _EXISTS, _USAGE, _DATA = 67, 65, 64, 65
_LOCKED = "*LOCKED*"
_TAKES = "VRCnucdesgGLMkwhpHbifM"


class _Request:
    def __init__(self, process: Process) -> None:
        words = process.argv[1:]
        self.options: dict[str, str] = {}
        self.root = ""
        while words and words[0] in ("-R", "-V"):
            option = words.pop(0)
            self.root = words.pop(0).rstrip("/") if option == "-R" and words else self.root
        found = re.fullmatch(r"(user|group)(add|del|mod|show|next)?|lock|unlock", words[0]) if words else None
        if found is None:
            process.err("usage:\n  pw [user|group|lock|unlock] [add|del|mod|show|next] [help|switches/values]\n")
            process.exit(_USAGE)
        word = words.pop(0)
        self.what, self.action = (found[1] or "user"), (found[2] or word)
        if found[1] and not found[2]:
            self.action = words.pop(0) if words else ""
        if self.action not in ("add", "del", "mod", "show", "next", "lock", "unlock"):
            process.err("usage:\n  pw [user|group|lock|unlock] [add|del|mod|show|next] [help|switches/values]\n")
            process.exit(_USAGE)
        if words and not words[0].startswith("-"):
            self.options["n"] = words.pop(0)
        self._read_options(process, words)

    def _read_options(self, process: Process, words: list[str]) -> None:
        while words:
            word = words.pop(0)
            if not word.startswith("-") or len(word) < 2:
                if "n" in self.options:
                    process.exit(_USAGE, f"unexpected argument {word}")
                self.options["n"] = word
                continue
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                takes = letter in _TAKES and not (letter == "m" and self.what == "user")
                value = ""
                if takes or (letter == "m" and self.what == "group"):
                    value, letters = (letters or (words.pop(0) if words else "")), ""
                self.options[letter] = value
        self.root = (self.options.get("R") or self.root).rstrip("/")

    @property
    def name(self) -> str:
        return self.options.get("n", "")


def main(process: Process) -> int:
    request = _Request(process)
    handler = {"user": _User, "group": _Group}[request.what](process, request)
    method = {"del": "delete", "unlock": "lock"}.get(request.action, request.action)
    return int(getattr(handler, method)())


class _Files:
    def __init__(self, process: Process, request: _Request) -> None:
        self.process = process
        self.request = request

    def read(self, file: str) -> list[list[str]]:
        try:
            text = os.fsdecode(self.process.path(f"{self.request.root}{file}").read_bytes())
        except OSError:
            if file != "/etc/master.passwd":
                return []
            self.process.exit(72, f"{self.request.root}{file}: No such file or directory")
        return [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]

    def write(self, file: str, rows: list[list[str]], mode: int) -> None:
        path = f"{self.request.root}{file}"
        place = self.process.locate(path)
        access.before_write(self.process, place)
        text = "".join(":".join(row) + "\n" for row in rows)
        new = place.backing.with_name(place.backing.name + ".new")
        new.write_bytes(os.fsencode(text))
        os.replace(new, place.backing)
        access.set_mode(self.process, place, mode)

    def find(self, rows: list[list[str]], name: str) -> list[str] | None:
        by_name = next((row for row in rows if row[0] == name), None)
        return by_name or next((row for row in rows if name.isdigit() and row[2] == name), None)

    def free(self, rows: list[list[str]], first: int = 1001) -> int:
        taken = {int(row[2]) for row in rows if row[2].isdigit()}
        return next(number for number in range(first, 32000) if number not in taken)

    def check_name(self, name: str, what: str) -> None:
        if not name:
            self.process.exit(_USAGE, f"{what} name or id required")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*\$?", name) or len(name) > 32:
            bad = next((letter for letter in name if not re.fullmatch(r"[A-Za-z0-9_.-]", letter)), name[0])
            self.process.exit(_DATA, f"invalid character `{bad}' at position {name.index(bad)} in userid/group name")


class _User(_Files):
    def rows(self) -> list[list[str]]:
        return self.read("/etc/master.passwd")

    def save(self, rows: list[list[str]]) -> int:
        self.write("/etc/master.passwd", rows, 0o600)
        self.write("/etc/passwd", [[row[0], "*", row[2], row[3], *row[7:]] for row in rows], 0o644)
        return 0

    def known(self, rows: list[list[str]]) -> list[str]:
        name = self.request.name
        if not name and "u" in self.request.options:
            name = self.request.options["u"]
        row = self.find(rows, name)
        if row is None:
            self.process.exit(_NOUSER, f"no such user `{name}'" if not name.isdigit() else f"no such uid `{name}'")
        return row

    def show(self) -> int:
        rows = self.rows()
        chosen = rows if "a" in self.request.options else [self.known(rows)]
        for row in chosen:
            shown = [row[0], "*" if row[1].startswith(("$", _LOCKED)) else row[1], *row[2:]]
            self.process.out(":".join(shown) + "\n")
        return 0

    def next(self) -> int:
        number = self.free(self.rows())
        self.process.out(f"{number}:{number}\n")
        return 0

    def add(self) -> int:
        options, rows = self.request.options, self.rows()
        self.check_name(self.request.name, "user")
        if self.find(rows, self.request.name):
            self.process.exit(_EXISTS, f"login name `{self.request.name}' already exists")
        number = options.get("u") or str(self.free(rows))
        if "o" not in options and any(row[2] == number for row in rows):
            self.process.exit(_EXISTS, f"uid `{number}' has already been allocated")
        group = self.group_of(options.get("g"), int(number))
        row = [self.request.name, "*", number, group, options.get("L", ""), "0", "0", options.get("c", "User &"),
               options.get("d") or f"/home/{self.request.name}", self.shell(options.get("s") or "sh")]  # fmt: skip
        row[1] = self.password(row[1])
        self.save([*rows, row])
        self.join(row[0], options.get("G"))
        if "m" in options:
            self.process.run(["mkdir", "-p", f"{self.request.root}{row[8]}"])
        return 0

    def shell(self, name: str) -> str:
        if name.startswith("/"):
            return name
        return "/usr/sbin/nologin" if name == "nologin" else f"/bin/{name}"

    def password(self, before: str) -> str:
        source = self.request.options.get("h") or self.request.options.get("H")
        if source is None:
            return before
        if source == "-":
            return "*"
        if not source.isdigit() or int(source) not in self.process.fds:
            self.process.exit(_USAGE, "'-h' expects a file descriptor")
        text = os.read(self.process.fds[int(source)], 1024).split(b"\n", 1)[0]
        if not text:
            self.process.exit(_DATA, "empty password read on file descriptor")
        if "H" in self.request.options:
            return os.fsdecode(text)
        # As long as crypt(3)'s, never compared with anything: no one logs in to a simulated host.
        salt = secrets.token_hex(8)
        from hashlib import sha512

        return f"$6${salt}${sha512(salt.encode() + text).hexdigest()[:86]}"

    def group_of(self, wanted: str | None, number: int) -> str:
        groups = self.read("/etc/group")
        if wanted:
            found = self.find(groups, wanted)
            if found is None:
                self.process.exit(_NOUSER, f"group `{wanted}' does not exist")
            return found[2]
        if not self.find(groups, self.request.name):
            taken = {row[2] for row in groups}
            gid = str(number) if str(number) not in taken else str(self.free(groups))
            self.write("/etc/group", [*groups, [self.request.name, "*", gid, ""]], 0o644)
            return gid
        return self.find(groups, self.request.name)[2]  # type: ignore[index]

    def join(self, name: str, wanted: str | None) -> None:
        if not wanted:
            return
        groups = self.read("/etc/group")
        for one in wanted.split(","):
            row = self.find(groups, one)
            if row is None:
                self.process.exit(_NOUSER, f"group `{one}' does not exist")
            members = [member for member in row[3].split(",") if member]
            row[3] = ",".join([*members, name] if name not in members else members)
        self.write("/etc/group", groups, 0o644)

    def mod(self) -> int:
        rows, options = self.rows(), self.request.options
        row = self.known(rows)
        for letter, column in (("c", 7), ("d", 8), ("u", 2), ("L", 4)):
            if letter in options and not (letter == "u" and not self.request.name):
                row[column] = options[letter]
        if "s" in options:
            row[9] = self.shell(options["s"])
        if "g" in options:
            row[3] = self.group_of(options["g"], 0)
        if options.get("w") in ("no", "none"):
            row[1] = "*" if options["w"] == "no" else ""
        row[1] = self.password(row[1])
        self.save(rows)
        self.join(row[0], options.get("G"))
        return 0

    def lock(self) -> int:
        rows = self.rows()
        row = self.known(rows)
        locked = row[1].startswith(_LOCKED)
        if self.request.action == "lock":
            if locked:
                self.process.exit(_DATA, f"user '{row[0]}' is already locked")
            row[1] = _LOCKED + row[1]
        else:
            if not locked:
                self.process.exit(_DATA, f"user '{row[0]}' is not locked")
            row[1] = row[1].removeprefix(_LOCKED)
        return self.save(rows)

    def delete(self) -> int:
        rows = self.rows()
        row = self.known(rows)
        if row[0] == "root":
            self.process.exit(_DATA, "cannot remove user 'root'")
        self.save([one for one in rows if one is not row])
        groups = self.read("/etc/group")
        for group in groups:
            group[3] = ",".join(member for member in group[3].split(",") if member and member != row[0])
        kept = [group for group in groups if not (group[0] == row[0] and group[2] == row[3] and not group[3])]
        self.write("/etc/group", kept, 0o644)
        if "r" in self.request.options:
            self.process.run(["rm", "-rf", f"{self.request.root}{row[8]}"])
        return 0


class _Group(_Files):
    def known(self, rows: list[list[str]]) -> list[str]:
        row = self.find(rows, self.request.name or self.request.options.get("g", ""))
        if row is None:
            self.process.exit(_DATA, f"unknown group `{self.request.name}'")
        return row

    def show(self) -> int:
        rows = self.read("/etc/group")
        for row in rows if "a" in self.request.options else [self.known(rows)]:
            self.process.out(":".join(row) + "\n")
        return 0

    def next(self) -> int:
        self.process.out(f"{self.free(self.read('/etc/group'))}\n")
        return 0

    def add(self) -> int:
        rows = self.read("/etc/group")
        self.check_name(self.request.name, "group")
        if self.find(rows, self.request.name):
            self.process.exit(_DATA, f"group name `{self.request.name}' already exists")
        number = self.request.options.get("g") or str(self.free(rows))
        self.write("/etc/group", [*rows, [self.request.name, "*", number, self.request.options.get("M", "")]], 0o644)
        return 0

    def mod(self) -> int:
        rows = self.read("/etc/group")
        row = self.known(rows)
        members = [member for member in row[3].split(",") if member]
        if "M" in self.request.options:
            members = self.request.options["M"].split(",")
        members += [one for one in self.request.options.get("m", "").split(",") if one and one not in members]
        gone = self.request.options.get("d", "").split(",")
        row[3] = ",".join(member for member in members if member not in gone)
        self.write("/etc/group", rows, 0o644)
        return 0

    def delete(self) -> int:
        rows = self.read("/etc/group")
        row = self.known(rows)
        self.write("/etc/group", [one for one in rows if one is not row], 0o644)
        return 0
