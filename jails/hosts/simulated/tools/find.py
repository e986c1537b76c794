"""find(1), without the rarer primaries: what is unknown is refused."""

from __future__ import annotations

import errno
import fnmatch
import re
import stat as modes
from collections.abc import Callable

from jails.hosts.simulated import clock
from jails.hosts.simulated.host import Location, os_error, strerror
from jails.hosts.simulated.process import Process

from . import access

Test = Callable[[str, Location], bool]


class _Find:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.words = process.argv[1:]
        self.across = True
        self.depth_first = False
        self.shallowest, self.deepest = 0, 1 << 20
        self.acts = False
        self.pruned = False

    def expression(self) -> Test:
        tests = [self.conjunction()]
        while self.words and self.words[0] in ("-o", "-or"):
            self.words.pop(0)
            tests.append(self.conjunction())
        return tests[0] if len(tests) == 1 else lambda path, place: any(test(path, place) for test in tests)

    def conjunction(self) -> Test:
        tests: list[Test] = []
        while self.words and self.words[0] not in ("-o", "-or", ")"):
            if self.words[0] in ("-a", "-and"):
                self.words.pop(0)
                continue
            tests.append(self.primary())
        return lambda path, place: all(test(path, place) for test in tests)

    def primary(self) -> Test:
        word = self.words.pop(0)
        if word in ("!", "-not"):
            inner = self.primary()
            return lambda path, place: not inner(path, place)
        if word == "(":
            group = self.expression()
            if self.words[:1] != [")"]:
                self.process.exit(1, "(: missing closing ')'")
            self.words.pop(0)
            return group
        if word in ("-print", "-print0", "-delete", "-exec", "-ls"):
            return self.action(word)
        if word in ("-x", "-xdev", "-depth", "-d", "-true"):
            self.across = self.across and word not in ("-x", "-xdev")
            self.depth_first = self.depth_first or word in ("-d", "-depth")
            return lambda path, place: True
        if word == "-prune":
            return self.prune
        return self.question(word)

    def prune(self, path: str, place: Location) -> bool:
        self.pruned = True
        return True

    def action(self, word: str) -> Test:
        self.acts = True
        if word == "-exec":
            end = next((at for at, one in enumerate(self.words) if one in (";", "+")), None)
            if end is None:
                self.process.exit(1, '-exec: no terminating ";" or "+"')
            command, self.words = self.words[:end], self.words[end + 1 :]
            return lambda path, place: self.process.run([one.replace("{}", path) for one in command]) == 0
        if word == "-delete":
            self.depth_first = True
            return self.delete
        end_of = "\0" if word == "-print0" else "\n"
        return lambda path, place: self.show(path + end_of)

    def show(self, text: str) -> bool:
        self.process.out(text)
        return True

    def delete(self, path: str, place: Location) -> bool:
        try:
            if place.backing.is_dir() and not place.backing.is_symlink():
                access.remove_directory(self.process, place)
            else:
                access.remove(self.process, place)
        except OSError as error:
            self.process.err(f"find: -delete: unlink({path}): {strerror(error)}\n")
            return False
        return True

    def question(self, word: str) -> Test:
        known = ("-name", "-path", "-type", "-maxdepth", "-mindepth", "-user", "-group", "-perm", "-flags", "-newer",
                 "-size", "-mtime", "-mmin", "-empty", "-iname")  # fmt: skip
        if word not in known:
            self.process.exit(1, f"{word}: unknown primary or operator")
        if word == "-empty":
            return lambda path, place: self.empty(place)
        if not self.words:
            self.process.exit(1, f"{word}: requires additional arguments")
        value = self.words.pop(0)
        if word == "-maxdepth":
            self.deepest = int(value)
        elif word == "-mindepth":
            self.shallowest = int(value)
        if word in ("-maxdepth", "-mindepth"):
            return lambda path, place: True
        return {
            "-name": lambda path, place: fnmatch.fnmatchcase(path.rstrip("/").rpartition("/")[2] or "/", value),
            "-iname": lambda path, place: fnmatch.fnmatchcase(path.rpartition("/")[2].lower(), value.lower()),
            "-path": lambda path, place: fnmatch.fnmatchcase(path, value),
            "-type": lambda path, place: self.kind(place) == value,
            "-user": lambda path, place: self.owner(place, value, "/etc/passwd"),
            "-group": lambda path, place: self.owner(place, value, "/etc/group"),
            "-perm": lambda path, place: self.permitted(place, value),
            "-flags": lambda path, place: value.lstrip("+-") in access.status(self.process, place).flags,
            "-newer": lambda path, place: (
                place.backing.lstat().st_mtime_ns > self.process.path(value).stat().st_mtime_ns
            ),
            "-size": lambda path, place: self.sized(place, value),
            "-mtime": lambda path, place: self.aged(place, value, 86400),
            "-mmin": lambda path, place: self.aged(place, value, 60),
        }[word]

    def empty(self, place: Location) -> bool:
        if place.backing.is_dir() and not place.backing.is_symlink():
            return not self.process.host.entries(place.backing)
        return access.status(self.process, place).size == 0

    def kind(self, place: Location) -> str:
        letter = modes.filemode(access.status(self.process, place).mode)[0]
        return "f" if letter == "-" else letter

    def owner(self, place: Location, value: str, file: str) -> bool:
        given = access.status(self.process, place)
        number = given.uid if file == "/etc/passwd" else given.gid
        return access.account_names(self.process, file).get(value, int(value) if value.isdigit() else -1) == number

    def permitted(self, place: Location, value: str) -> bool:
        mode = modes.S_IMODE(access.status(self.process, place).mode)
        bits = int(value.lstrip("+-"), 8)
        return mode & bits == bits if value[0] == "-" else bool(mode & bits) if value[0] == "+" else mode == bits

    def sized(self, place: Location, value: str) -> bool:
        found = re.fullmatch(r"([-+]?)(\d+)([ckMG]?)", value)
        if found is None:
            self.process.exit(1, f"-size: {value}: illegal trailing character")
        unit = {"": 512, "c": 1, "k": 1024, "M": 1 << 20, "G": 1 << 30}[found[3]]
        size = -(-access.status(self.process, place).size // unit)
        return {"": size == int(found[2]), "+": size > int(found[2]), "-": size < int(found[2])}[found[1]]

    def aged(self, place: Location, value: str, unit: int) -> bool:
        age = int((clock.now() - place.backing.lstat().st_mtime) // unit)
        number = int(value.lstrip("+-"))
        return age > number if value[0] == "+" else age < number if value[0] == "-" else age == number

    def visit(self, path: str, place: Location, depth: int, test: Test, device: int) -> None:
        self.pruned = False
        if not self.depth_first and depth >= self.shallowest:
            self.judge(path, place, test)
        if place.backing.is_dir() and not place.backing.is_symlink() and depth < self.deepest and not self.pruned:
            for name, child in list(access.children(self.process, place)):
                if self.across or child.mount["id"] == device:
                    self.visit(f"{path.rstrip('/')}/{name}", child, depth + 1, test, device)
        if self.depth_first and depth >= self.shallowest:
            self.judge(path, place, test)

    def judge(self, path: str, place: Location, test: Test) -> None:
        if test(path, place) and not self.acts:
            self.show(path + "\n")


def main(process: Process) -> int:
    job = _Find(process)
    while job.words and job.words[0] in ("-H", "-P", "-x", "-d", "-s", "-E"):
        word = job.words.pop(0)
        job.across = job.across and word != "-x"
        job.depth_first = job.depth_first or word == "-d"
    starts = []
    while job.words and not job.words[0].startswith("-") and job.words[0] not in ("!", "("):
        starts.append(job.words.pop(0))
    if not starts:
        access.wrong_usage(process, "", "usage: find [-H | -L | -P] [-EXdsx] [-f path] path ... [expression]", 1)
    test = job.expression()
    failed = 0
    for start in starts:
        try:
            place = process.locate(start, follow=False)
            if not place.exists:
                raise os_error(errno.ENOENT)
        except OSError as error:
            process.err(f"find: {start}: {strerror(error)}\n")
            failed = 1
            continue
        job.visit(start, place, 0, test, place.mount["id"])
    return failed
