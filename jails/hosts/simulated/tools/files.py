"""cat, cp, mv, ln, rm, mkdir, ls, stat and the others that make, show, move and remove files (bin/, usr.bin/)."""

from __future__ import annotations

import errno
import os
import re
import stat as modes
import time
from collections.abc import Callable

from jails.hosts.simulated import builtins, clock, prison
from jails.hosts.simulated.host import Location, os_error, strerror
from jails.hosts.simulated.process import Process

from . import access
from .access import Options, each

_BLOCK = 1 << 16


def locate(process: Process, path: str, cwd: str | None, *, follow: bool = True) -> Location:
    with process.host.reading() as state:
        return process.host.locate(
            state, path, root=process.root, cwd=process.cwd if cwd is None else cwd, follow=follow
        )


def existing(process: Process, path: str, *, follow: bool = True) -> Location:
    """Where something lies that must be there. Raises OSError."""
    place = process.locate(path, follow=follow)
    if not place.exists:
        raise os_error(errno.ENOENT)
    return place


# Reading and writing


def cat_main(process: Process) -> int:
    options = Options(process, "belnstuv", "usage: cat [-belnstuv] [file ...]", 1)

    def show(operand: str) -> int:
        if operand == "-":
            process.flush()
            while part := process.read():
                process.write(1, part)
            return 0
        real = access.open_file(process, operand, os.O_RDONLY)
        try:
            while part := os.read(real, _BLOCK):
                process.out(part)
        finally:
            os.close(real)
        return 0

    return each(process, options.operands or ["-"], show)


def tee_main(process: Process) -> int:
    options = Options(process, "ai", "usage: tee [-ai] [file ...]", 1)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if "a" in options else os.O_TRUNC)
    outputs: list[tuple[str, int]] = []

    def open_one(operand: str) -> int:
        outputs.append((operand, access.open_file(process, operand, flags)))
        return 0

    failed = each(process, options.operands, open_one)
    try:
        while part := process.read():
            process.write(1, part)
            for operand, real in outputs:
                try:
                    place = process.locate(operand)
                    if place.mount["type"] != "devfs":
                        access.check_space(process, place, len(part))
                    os.write(real, part)
                except OSError as error:
                    process.err(f"tee: {operand}: {strerror(error)}\n")
                    failed = 1
    finally:
        for _, real in outputs:
            os.close(real)
    return failed


def dd_main(process: Process) -> int:
    given = {}
    for word in process.argv[1:]:
        name, equals, value = word.partition("=")
        if not equals or name not in (
            "if",
            "of",
            "bs",
            "ibs",
            "obs",
            "count",
            "skip",
            "seek",
            "conv",
            "status",
            "oflag",
        ):
            process.exit(1, f"unknown operand {word}")
        given[name] = value
    size = _amount(process, given.get("bs") or given.get("ibs") or "512")
    count = _amount(process, given["count"]) if "count" in given else None
    keep = "notrunc" in given.get("conv", "").split(",")
    start = time.monotonic()
    source = access.open_file(process, given["if"], os.O_RDONLY) if "if" in given else process.fds[0]
    target = process.fds[1]
    place = None
    if "of" in given:
        flags = os.O_WRONLY | os.O_CREAT | (0 if keep or "seek" in given else os.O_TRUNC)
        target = access.open_file(process, given["of"], flags)
        place = process.locate(given["of"])
    for _ in range(_amount(process, given.get("skip", "0"))):
        os.read(source, size)
    if "seek" in given:
        os.lseek(target, _amount(process, given["seek"]) * size, os.SEEK_SET)
    full = partial = total = failed = 0
    unwritten = b""
    while count is None or full + partial < count:
        part = os.read(source, size)
        if not part:
            break
        try:
            if place is not None and place.mount["type"] != "devfs" and (total == 0 or total % (1 << 20) < size):
                access.check_space(process, place, max(len(part), min(1 << 20, len(part) * ((count or 1) - full))))
            os.write(target, part)
        except OSError as error:
            process.err(f"dd: {given.get('of', 'stdout')}: {strerror(error)}\n")
            failed = 1
            unwritten = part
            break
        total += len(part)
        full, partial = (full + 1, partial) if len(part) == size else (full, partial + 1)
    if given.get("status") != "none":
        seconds = max(time.monotonic() - start, 0.000001)
        more = int(len(unwritten) == size), int(0 < len(unwritten) < size)
        process.err(
            f"{full + more[0]}+{partial + more[1]} records in\n{full}+{partial} records out\n"
            f"{total} bytes transferred in {seconds:.6f} secs ({int(total / seconds)} bytes/sec)\n"
        )
    return failed


def _amount(process: Process, text: str) -> int:
    found = re.fullmatch(r"(\d+)([bkmgtKMGTw]?)", text)
    if found is None:
        process.exit(1, f"{text}: illegal numeric value")
    units = {"": 1, "b": 512, "w": 4, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    return int(found[1]) * units[found[2].lower()]


def truncate_main(process: Process) -> int:
    usage = "usage: truncate [-c] -s [+|-]size[K|k|M|m|G|g|T|t] file ..."
    options = Options(process, "cr:s:", usage, 1)
    text = options.get("s")
    if text is None or not options.operands:
        access.wrong_usage(process, "", usage, 1)
    amount = _amount(process, text.lstrip("+-"))

    def cut(operand: str) -> int:
        place = process.locate(operand)
        if not place.exists:
            if "c" in options:
                return 0
            os.close(access.open_file(process, operand, os.O_WRONLY | os.O_CREAT))
        access.before_write(process, place)
        now = place.backing.stat().st_size
        wanted = {"+": now + amount, "-": max(0, now - amount)}.get(text[0], amount)
        os.truncate(place.backing, wanted)
        return 0

    return each(process, options.operands, cut)


# Copying, moving, linking


def cp_main(process: Process) -> int:
    usage = "usage: cp [-R [-H | -L | -P]] [-f | -i | -n] [-alpsvx] source_file target_file"
    options = Options(process, "HLPRafilnprsvx", usage)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage)
    *sources, target = options.operands
    recursive = any(letter in options for letter in "Rra")
    keep = "p" in options or "a" in options
    follow = "L" in options or not (recursive and ("P" in options or "a" in options))
    into = _is_directory(process, target)
    if len(sources) > 1 and not into:
        process.exit(
            1,
            f"{target}: No such file or directory"
            if not process.locate(target).exists
            else f"{target} is not a directory",
        )
    job = _Copy(process, recursive, keep, "x" not in options, options)
    failed = 0
    for source in sources:
        failed |= each(process, [source], lambda one: job.copy(one, _below(target, one) if into else target, follow))
    return failed or int(job.failed)


def _below(directory: str, source: str) -> str:
    return f"{directory.rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}"


def _is_directory(process: Process, path: str) -> bool:
    try:
        return process.locate(path).backing.is_dir()
    except OSError:
        return False


class _Copy:
    def __init__(self, process: Process, recursive: bool, keep: bool, across: bool, options: Options) -> None:
        self.process = process
        self.recursive = recursive
        self.keep = keep
        self.across = across
        self.options = options
        self.failed = False

    def copy(self, source: str, target: str, follow: bool) -> int:
        place = existing(self.process, source, follow=follow)
        if place.backing.is_dir() and not place.backing.is_symlink():
            if not self.recursive:
                self.process.err(f"cp: {source} is a directory (not copied).\n")
                return 1
            if f"{self.process.locate(target, follow=False).path}/".startswith(f"{place.path.rstrip('/')}/"):
                self.process.err(f"cp: {target}: Invalid argument\n")
                return 1
            return self._tree(source, place, target)
        return self._one(source, place, target)

    def _tree(self, source: str, place: Location, target: str) -> int:
        made = self.process.locate(target)
        if not made.exists:
            access.make_directory(self.process, made, 0o755)
        for name, child in access.children(self.process, place):
            if child.mount["id"] != place.mount["id"] and not self.across:
                continue
            below = f"{source.rstrip('/')}/{name}"
            into = f"{target.rstrip('/')}/{name}"
            try:
                if child.backing.is_dir() and not child.backing.is_symlink():
                    self._tree(below, child, into)
                else:
                    self._one(below, child, into)
            except OSError as error:
                self.process.err(f"cp: {below}: {strerror(error)}\n")
                self.failed = True
        if self.keep:
            access.copy_attributes(self.process, place, made)
            access.set_mode(self.process, made, modes.S_IMODE(access.status(self.process, place).mode))
        return 0

    def _one(self, source: str, place: Location, target: str) -> int:
        if place.backing.is_symlink():
            link = self.process.locate(target, follow=False)
            if link.exists:
                access.remove(self.process, link)
            access.check_parent(self.process, link)
            os.symlink(os.readlink(place.backing), link.backing)
            access.changed(self.process, link)
            return 0
        try:
            made = self.process.locate(target)
            if not made.exists:
                access.check_parent(self.process, made)
        except OSError as error:
            self.process.err(f"cp: {target}: {strerror(error)}\n")
            return 1
        if made.exists and "n" in self.options:
            return 0
        if made.path == place.path:
            self.process.err(f"cp: {target} and {source} are identical (not copied).\n")
            return 1
        if place.mount["type"] == "devfs":
            return self._device(source, target)
        if "l" in self.options:
            access.check_parent(self.process, made)
            os.link(place.backing, made.backing)
        else:
            try:
                access.copy_file(self.process, place, made, keep=self.keep)
            except OSError as error:
                self.process.err(f"cp: {target}: {strerror(error)}\n")
                return 1
        if "v" in self.options:
            self.process.out(f"{source} -> {target}\n")
        return 0

    def _device(self, source: str, target: str) -> int:
        if source.rpartition("/")[2] != "null":
            raise os_error(errno.EOPNOTSUPP)
        os.close(access.open_file(self.process, target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        return 0


def mv_main(process: Process) -> int:
    usage = "usage: mv [-f | -i | -n] [-hv] source target\n       mv [-f | -i | -n] [-v] source ... directory"
    options = Options(process, "finhv", usage)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage)
    *sources, target = options.operands
    into = _is_directory(process, target) and not (
        "h" in options and process.locate(target, follow=False).backing.is_symlink()
    )
    if len(sources) > 1 and not into:
        process.exit(1, f"{target} is not a directory")
    failed = 0
    for source in sources:
        failed |= _move(process, source, _below(target, source) if into else target, options)
    return failed


def _move(process: Process, source: str, target: str, options: Options) -> int:
    try:
        one = process.locate(source.rstrip("/") or "/", follow=False)
        other = process.locate(target.rstrip("/") or "/", follow=False)
        if other.exists and "n" in options:
            return 0
        access.rename(process, one, other)
    except OSError as error:
        if error.errno != errno.EXDEV:
            process.err(f"mv: rename {source} to {target}: {strerror(error)}\n")
            return 1
        return _move_across(process, source, target)
    if "v" in options:
        process.out(f"{source} -> {target}\n")
    return 0


def _move_across(process: Process, source: str, target: str) -> int:
    if process.locate(source, follow=False).is_mountpoint:
        process.err(f"mv: rename {source} to {target}: Device busy\n")
        return 1
    rc = process.run(["cp", "-RpP", "--", source, target])
    return rc or process.run(["rm", "-rf", "--", source])


def ln_main(process: Process) -> int:
    usage = "usage: ln [-s [-F] | -L | -P] [-f | -i] [-hnv] source_file [target_file]"
    options = Options(process, "FLPfhinsvw", usage, 1)
    if not options.operands:
        access.wrong_usage(process, "", usage, 1)
    sources = options.operands[:-1] or options.operands
    target = options.operands[-1] if len(options.operands) > 1 else "."
    kept = "h" in options or "n" in options
    into = _is_directory(process, target) and not (kept and process.locate(target, follow=False).backing.is_symlink())
    if len(sources) > 1 and not into:
        process.exit(1, f"{target}: Not a directory")

    def link(source: str) -> int:
        name = _below(target, source) if into else target
        place = process.locate(name, follow=False)
        if place.exists:
            if "f" not in options:
                process.err(f"ln: {name}: File exists\n")
                return 1
            access.remove(process, place)
        try:
            access.check_parent(process, place)
        except OSError as error:
            process.err(f"ln: {name}: {strerror(error)}\n")
            return 1
        if "s" in options:
            os.symlink(source, place.backing)
        else:
            one = existing(process, source)
            if one.backing.is_dir():
                process.err(f"ln: {source}: Is a directory\n")
                return 1
            if one.mount["id"] != place.mount["id"]:
                process.err(f"ln: {name}: Cross-device link\n")
                return 1
            os.link(one.backing, place.backing)
        access.changed(process, place)
        return 0

    return each(process, sources, link)


# Making and removing


def rm_main(process: Process) -> int:
    usage = "usage: rm [-f | -i] [-dIPRrvWx] file ..."
    options = Options(process, "dfiIPRrvWx", usage)
    force = "f" in options
    if not options.operands:
        if force:
            return 0
        access.wrong_usage(process, "", usage)
    recursive = "r" in options or "R" in options
    failed = 0
    for operand in options.operands:
        if operand.rstrip("/").rpartition("/")[2] in (".", "..") or not operand.strip("/"):
            process.err(
                'rm: "/", "." and ".." may not be removed\n' if operand.strip("/") else 'rm: "/" may not be removed\n'
            )
            failed = 1
            continue
        failed |= _Remove(process, recursive, force, "x" not in options, "d" in options, "v" in options).begin(operand)
    return failed


class _Remove:
    def __init__(self, process: Process, recursive: bool, force: bool, across: bool, empty: bool, tell: bool) -> None:
        self.process = process
        self.recursive = recursive
        self.force = force
        self.across = across
        self.empty = empty
        self.tell = tell
        self.count = 0

    def begin(self, path: str) -> int:
        try:
            place = self.process.locate(path.rstrip("/"), follow=False)
        except OSError as error:
            return self._failed(path, error)
        if not place.exists:
            return 0 if self.force else self._failed(path, os_error(errno.ENOENT))
        return self.remove(path, place)

    def _failed(self, path: str, error: OSError) -> int:
        if self.force and error.errno in (errno.ENOENT, errno.ENOTDIR):
            return 0
        self.process.err(f"rm: {path}: {strerror(error)}\n")
        return 1

    def remove(self, path: str, place: Location) -> int:
        directory = place.backing.is_dir() and not place.backing.is_symlink()
        if directory and not self.recursive and not self.empty:
            self.process.err(f"rm: {path}: is a directory\n")
            return 1
        failed = 0
        try:
            if directory and self.recursive:
                for name, child in access.children(self.process, place):
                    if child.mount["id"] != place.mount["id"] and not self.across:
                        continue
                    failed |= self.remove(f"{path.rstrip('/')}/{name}", child)
            if directory:
                access.remove_directory(self.process, place)
            else:
                access.remove(self.process, place)
        except FileNotFoundError:
            return failed
        except OSError as error:
            return self._failed(path, error)
        if self.tell:
            self.process.out(path + "\n")
        self.count += 1
        if self.count == 20:
            self.process.middle()
        return failed


def rmdir_main(process: Process) -> int:
    usage = "usage: rmdir [-pv] directory ..."
    options = Options(process, "pv", usage, 1)
    if not options.operands:
        access.wrong_usage(process, "", usage, 1)

    def one(operand: str) -> None:
        access.remove_directory(process, process.locate(operand.rstrip("/") or "/", follow=False))

    return each(process, options.operands, one)


def mkdir_main(process: Process) -> int:
    usage = "usage: mkdir [-pv] [-m mode] directory_name ..."
    options = Options(process, "m:pv", usage)
    if not options.operands:
        access.wrong_usage(process, "", usage)
    mode = _mode_change(process, options.get("m") or "755", "mkdir")(0o755, True)
    failed = 0
    for operand in options.operands:
        failed |= _make(process, operand, mode, "p" in options)
    return failed


def _make(process: Process, operand: str, mode: int, parents: bool) -> int:
    path = operand.rstrip("/") or "/"
    if parents:
        return _make_with_parents(process, path, mode)
    try:
        access.make_directory(process, process.locate(path, follow=False), mode)
    except OSError as error:
        blamed = operand
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            blamed = path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")
        process.err(f"mkdir: {blamed}: {strerror(error)}\n")
        return 1
    return 0


def _make_with_parents(process: Process, path: str, mode: int) -> int:
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        upto = "/".join(parts[:count])
        if not upto:
            continue
        try:
            place = process.locate(upto)
            if place.exists and place.backing.is_dir():
                continue
            if place.exists:
                raise os_error(errno.EEXIST if count == len(parts) else errno.ENOTDIR)
            access.make_directory(process, place, mode if count == len(parts) else 0o755)
        except FileExistsError as error:
            if _is_directory(process, upto):
                continue
            process.err(f"mkdir: {upto}: {strerror(error)}\n")
            return 1
        except OSError as error:
            process.err(f"mkdir: {upto}: {strerror(error)}\n")
            return 1
    return 0


def touch_main(process: Process) -> int:
    usage = (
        "usage: touch [-A [-][[hh]mm]SS] [-achm] [-r file] [-t [[CC]YY]MMDDhhmm[.SS]]\n"
        "       [-d YYYY-MM-DDThh:mm:SS[.frac][tz]] file ..."
    )
    options = Options(process, "A:acd:fhmr:t:", usage, 1)
    if not options.operands:
        access.wrong_usage(process, "", usage, 1)
    when = None
    if "r" in options:
        when = existing(process, options.get("r") or "").backing.stat().st_mtime_ns
    elif "d" in options:
        when = _iso_time(process, options.get("d") or "")

    def one(operand: str) -> int:
        place = process.locate(operand, follow="h" not in options)
        if not place.exists:
            if "c" in options:
                return 0
            os.close(access.open_file(process, operand, os.O_WRONLY | os.O_CREAT))
        elif place.read_only:
            raise os_error(errno.EROFS)
        access.changed(process, place)
        now = time.time_ns() if when is None else when
        os.utime(place.backing, ns=(now, now), follow_symlinks="h" not in options)
        return 0

    return each(process, options.operands, one)


def _iso_time(process: Process, text: str) -> int:
    import calendar

    try:
        stamp = time.strptime(text.rstrip("Z")[:19].replace(" ", "T"), "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        process.exit(1, "out of range or illegal time specification: YYYY-MM-DDThh:mm:SS[.frac][tz]")
    return calendar.timegm(stamp) * 1_000_000_000


def mktemp_main(process: Process) -> int:
    usage = "usage: mktemp [-d] [-p tmpdir] [-q] [-t prefix] [-u] template ..."
    options = Options(process, "dp:qt:u", usage, 1)
    templates = options.operands
    if "t" in options or not templates:
        base = options.get("p") or process.env.get("TMPDIR", "/tmp")  # noqa: S108 (a path of the simulated host)
        templates = [f"{base}/{options.get('t') or 'tmp'}.XXXXXXXX", *templates]
    for template in templates:
        stem = template.rstrip("X")
        count = len(template) - len(stem)
        letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
        name = stem + "".join(letters[one % len(letters)] for one in os.urandom(count))
        place = process.locate(name, follow=False)
        verb = "mkdtemp" if "d" in options else "mkstemp"
        try:
            if "u" in options:
                pass
            elif "d" in options:
                access.make_directory(process, place, 0o700)
            else:
                os.close(access.open_file(process, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                access.set_mode(process, place, 0o600)
        except OSError as error:
            if "q" not in options:
                process.err(f"mktemp: {verb} failed on {name}: {strerror(error)}\n")
            return 1
        process.out(name + "\n")
    return 0


def install_main(process: Process) -> int:
    usage = (
        "usage: install [-bCcpSsUv] [-f flags] [-g group] [-m mode] [-o owner] file1 file2\n"
        "       install -d [-v] [-g group] [-m mode] [-o owner] directory ..."
    )
    options = Options(process, "bCcdf:g:lMm:o:pSsUv", usage)
    mode = int(options.get("m") or "755", 8)
    owner = _owner(process, options.get("o"), options.get("g"))
    if "d" in options:
        failed = 0
        for operand in options.operands:
            failed |= _make_with_parents(process, operand.rstrip("/") or "/", mode)
            if not failed:
                place = process.locate(operand)
                access.set_mode(process, place, mode)
                _give(process, place, *owner)
        return failed
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage)
    *sources, target = options.operands
    into = _is_directory(process, target)
    for source in sources:
        name = _below(target, source) if into else target
        place = process.locate(name, follow=False)
        try:
            data = access.read_all(process, source) if source != "/dev/stdin" else process.stdin()
        except OSError as error:
            process.exit(71, f"{source}: {strerror(error)}")
        temporary = process.locate(f"{name.rpartition('/')[0] or '.'}/INS@{os.urandom(3).hex()}", follow=False)
        try:
            access.before_write(process, temporary)
            access.check_space(process, temporary, len(data))
            temporary.backing.write_bytes(data)
            access.set_mode(process, temporary, mode)
            _give(process, temporary, *owner)
            access.rename(process, temporary, place)
        except OSError as error:
            temporary.backing.unlink(missing_ok=True)
            process.exit(71, f"{name}: {strerror(error)}")
    return 0


# Attributes


def chmod_main(process: Process) -> int:
    usage = "usage: chmod [-fhv] [-R [-H | -L | -P]] mode file ..."
    words = process.argv[1:]
    options = _mode_options(process, words, usage, "fhvRHLP")
    if len(options[1]) < 2:
        access.wrong_usage(process, "", usage, 1)
    change = _mode_change(process, options[1][0], "chmod")

    def one(operand: str) -> int:
        for _, place in _tree(process, operand, "R" in options[0]):
            if place.backing.is_symlink():
                continue
            _may_change(process, place)
            given = access.status(process, place)
            access.set_mode(process, place, change(modes.S_IMODE(given.mode), given.is_directory))
            access.changed(process, place)
        return 0

    return each(process, options[1][1:], one)


def _mode_options(process: Process, words: list[str], usage: str, letters: str) -> tuple[str, list[str]]:
    """Options before a mode such as `-w`, which is no option."""
    found = ""
    words = list(words)
    while (
        words and len(words[0]) > 1 and words[0][0] == "-" and words[0] != "--" and not set(words[0][1:]) - set(letters)
    ):
        found += words.pop(0)[1:]
    return found, words[1:] if words[:1] == ["--"] else words


def _mode_change(process: Process, text: str, tool: str) -> Callable[[int, bool], int]:
    if re.fullmatch(r"[0-7]{1,4}", text):
        number = int(text, 8)
        return lambda mode, directory: number
    clauses = text.split(",")
    if not all(re.fullmatch(r"[ugoa]*([-+=][rwxXst]*)+", clause) for clause in clauses):
        process.exit(1, f"invalid file mode: {text}")

    def change(mode: int, directory: bool) -> int:
        for clause in clauses:
            who = clause[: len(clause) - len(clause.lstrip("ugoa"))] or "a"
            for operator, letters in re.findall(r"([-+=])([rwxXst]*)", clause):
                mode = _apply_mode(mode, who, operator, letters, directory)
        return mode

    return change


def _apply_mode(mode: int, who: str, operator: str, letters: str, directory: bool) -> int:
    bits = 0
    for letter in letters:
        execute = letter == "x" or (letter == "X" and (directory or mode & 0o111))
        for one, shift in (("u", 6), ("g", 3), ("o", 0)):
            if one in who or "a" in who:
                bits |= (4 if letter == "r" else 2 if letter == "w" else 1 if execute else 0) << shift
        bits |= (
            (0o4000 if "u" in who or "a" in who else 0) | (0o2000 if "g" in who or "a" in who else 0)
            if letter == "s"
            else 0
        )
        bits |= 0o1000 if letter == "t" else 0
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    cleared = sum(7 << shift for one, shift in (("u", 6), ("g", 3), ("o", 0)) if one in who or "a" in who)
    return mode & ~cleared | bits


def _tree(process: Process, operand: str, recursive: bool, follow: bool = True) -> list[tuple[str, Location]]:
    place = existing(process, operand, follow=follow)
    return list(access.walk(process, operand, place)) if recursive else [(operand, place)]


def _may_change(process: Process, place: Location) -> None:
    if place.read_only:
        raise os_error(errno.EROFS)
    if access.IMMUTABLE.intersection(process.host.metadata(place.backing).get("flags", ())):
        raise os_error(errno.EPERM)


def chown_main(process: Process) -> int:
    usage = "usage: chown [-fhvx] [-R [-H | -L | -P]] owner[:group] file ..."
    options = Options(process, "fhvxRHLP", usage, 1)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage, 1)
    user, _, group = options.operands[0].partition(":")
    if process.name == "chgrp":
        user, group = "", options.operands[0]
    owner = _owner(process, user or None, group or None)

    def one(operand: str) -> int:
        for _, place in _tree(process, operand, "R" in options, "h" not in options):
            _may_change(process, place)
            _give(process, place, *owner)
            access.changed(process, place)
        return 0

    return each(process, options.operands[1:], one)


def _owner(process: Process, user: str | None, group: str | None) -> tuple[int | None, int | None]:
    found: list[int | None] = []
    for name, file, word in ((user, "/etc/passwd", "user"), (group, "/etc/group", "group")):
        if name is None:
            found.append(None)
        elif name.isdigit():
            found.append(int(name))
        else:
            names = access.account_names(process, file)
            if name not in names:
                changing = process.name in ("chown", "chgrp")
                complaint = f"{name}: illegal {word} name" if changing else f"unknown {word} {name}"
                process.exit(1 if changing else 64, complaint)
            found.append(names[name])
    return found[0], found[1]


def _give(process: Process, place: Location, uid: int | None, gid: int | None) -> None:
    if uid is not None:
        process.host.set_metadata(place.backing, uid=uid or None)
    if gid is not None:
        process.host.set_metadata(place.backing, gid=gid or None)


_FLAG_NAMES = {
    "arch": "arch", "archived": "arch", "nodump": "nodump", "opaque": "opaque", "sappnd": "sappnd", "sappend": "sappnd",
    "schg": "schg", "schange": "schg", "simmutable": "schg", "sunlnk": "sunlnk", "sunlink": "sunlnk",
    "uappnd": "uappnd", "uappend": "uappnd", "uchg": "uchg", "uchange": "uchg", "uimmutable": "uchg",
    "uunlnk": "uunlnk", "uunlink": "uunlnk", "uarch": "uarch",
}  # fmt: skip


def chflags_main(process: Process) -> int:
    usage = "usage: chflags [-fhvx] [-R [-H | -L | -P]] flags file ..."
    options = Options(process, "fhvxRHLP", usage, 1)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage, 1)
    clear, add, drop = _flag_changes(process, options.operands[0])
    failed = 0

    def one(operand: str) -> int:
        nonlocal failed
        top = existing(process, operand, follow="h" not in options and "R" not in options)
        places = access.walk(process, operand, top, across="x" not in options) if "R" in options else [(operand, top)]
        for path, place in places:
            if place.mount["id"] != top.mount["id"] and "x" in options:
                continue
            if place.read_only or place.mount["type"] == "devfs":
                if "f" not in options:
                    words = "Read-only file system" if place.read_only else "Operation not supported"
                    process.err(f"chflags: {path}: {words}\n")
                    failed = 1
                continue
            now = process.host.metadata(place.backing).get("flags", [])
            if process.jid and not _may_set_flags(process) and (add | drop | set(now)) & _SYSTEM_FLAGS:
                process.err(f"chflags: {path}: Operation not permitted\n" if "f" not in options else "")
                failed = 1
                continue
            new = sorted(({*now} - drop if not clear else set()) | add)
            if new != now:
                process.host.set_metadata(place.backing, flags=new or None)
                access.changed(process, place)
        return 0

    return each(process, options.operands[1:], one) | failed


_SYSTEM_FLAGS = {"schg", "sappnd", "sunlnk", "arch"}


def _may_set_flags(process: Process) -> bool:
    """Whether root of a jail counts as root for the system's file flags: allow.chflags."""
    with process.host.reading() as state:
        jail = prison.by_jid(state, process.jid)
    return bool(jail and jail["set"].get("allow.chflags"))


def _flag_changes(process: Process, text: str) -> tuple[bool, set[str], set[str]]:
    if text in ("0", "none"):
        return True, set(), set()
    add: set[str] = set()
    drop: set[str] = set()
    for word in text.split(","):
        name = "nodump" if word in ("dump", "nodump") else word.removeprefix("no")
        if name not in _FLAG_NAMES:
            process.exit(1, f"invalid flag: {text}")
        (drop if word == "dump" or (word.startswith("no") and word != "nodump") else add).add(_FLAG_NAMES[name])
    return False, add, drop


# Looking


def file_test(process: Process, letter: str, path: str, *, cwd: str | None = None) -> bool:
    """The questions of test(1) about files; for `nt`, `ot` and `ef` both paths, NUL between them."""
    if letter in ("nt", "ot", "ef"):
        left, right = path.split("\0")
        return _compared(process, letter, left, right, cwd=cwd)
    try:
        place = locate(process, path, cwd, follow=letter not in "hL")
        given = access.status(process, place)
    except OSError:
        return False
    kind = modes.S_IFMT(given.mode)
    kinds = {"b": modes.S_IFBLK, "c": modes.S_IFCHR, "d": modes.S_IFDIR, "f": modes.S_IFREG, "p": modes.S_IFIFO}
    kinds |= {"h": modes.S_IFLNK, "L": modes.S_IFLNK, "S": modes.S_IFSOCK}
    if letter in kinds:
        return kind == kinds[letter]
    bits = {"g": 0o2000, "k": 0o1000, "u": 0o4000}
    if letter in bits:
        return bool(given.mode & bits[letter])
    if letter == "s":
        return given.size > 0
    if letter == "w":
        return not place.read_only
    if letter == "x":
        return given.is_directory or bool(given.mode & 0o111)
    if letter == "O":
        return given.uid == 0
    if letter == "G":
        return given.gid == 0
    return letter in "er"


def _compared(process: Process, letter: str, one: str, other: str, cwd: str | None) -> bool:
    try:
        places = [locate(process, path, cwd) for path in (one, other)]
        times = [place.backing.stat().st_mtime_ns for place in places]
    except OSError:
        return False
    if letter == "ef":
        return places[0].backing == places[1].backing
    return times[0] > times[1] if letter == "nt" else times[0] < times[1]


def test_main(process: Process) -> int:
    words = process.argv[1:]
    if process.name == "[":
        if not words or words[-1] != "]":
            process.exit(2, "missing ]")
        words = words[:-1]
    try:
        return int(not builtins.test(words, lambda letter, path: letter != "t" and file_test(process, letter, path)))
    except builtins.TestFault as fault:
        process.exit(2, str(fault))


def pwd_main(process: Process) -> int:
    process.out(process.cwd + "\n")
    return 0


def realpath_main(process: Process) -> int:
    options = Options(process, "q", "usage: realpath [-q] [path ...]", 1)

    def one(operand: str) -> int:
        process.out(access.seen_path(process, existing(process, operand)) + "\n")
        return 0

    return each(process, options.operands or ["."], one)


def readlink_main(process: Process) -> int:
    options = Options(process, "fn", "usage: readlink [-fn] [file ...]", 1)
    failed = 0
    for operand in options.operands:
        try:
            if "f" in options:
                text = access.seen_path(process, process.locate(operand))
            else:
                text = os.readlink(process.path(operand, follow=False))
        except OSError:
            failed = 1
            continue
        process.out(text + ("" if "n" in options else "\n"))
    return failed


def basename_main(process: Process) -> int:
    if len(process.argv) < 2:
        access.wrong_usage(process, "", "usage: basename string [suffix]", 1)
    name = process.argv[1].rstrip("/").rpartition("/")[2] or ("/" if process.argv[1] else "")
    suffix = process.argv[2] if len(process.argv) > 2 else ""
    process.out((name.removesuffix(suffix) if name != suffix else name) + "\n")
    return 0


def dirname_main(process: Process) -> int:
    for word in process.argv[1:]:
        parent = word.rstrip("/").rpartition("/")[0].rstrip("/")
        process.out((parent or ("/" if word.startswith("/") else ".")) + "\n")
    return 0


def stat_main(process: Process) -> int:
    usage = "usage: stat [-FHLnq] [-f format | -l | -r | -s | -x] [-t timefmt] [file|handle ...]"
    options = Options(process, "FHLnqf:lrst:x", usage, 1)

    def one(operand: str) -> int:
        try:
            place = existing(process, operand, follow="L" in options)
        except OSError as error:
            if "q" not in options:
                process.err(
                    f"stat: {operand}: stat: {strerror(error)}\n"
                    if process.release_at_least(13)
                    else f"stat: {operand}: {strerror(error)}\n"
                )
            return 1
        given = access.status(process, place)
        end = "" if "n" in options else "\n"
        if "x" in options:
            process.out(_long_status(process, operand, given))
            return 0
        form = options.get("f")
        if form is None:
            form = '%d %i %Sp %l %Su %Sg %r %z "%Sa" "%Sm" "%Sc" "%SB" %k %b %#Xf %N'
        process.out(_status_text(process, form, operand, place, given) + end)
        return 0

    return each(process, options.operands, one)


def _status_text(process: Process, form: str, name: str, place: Location, given: access.Status) -> str:
    users = access.account_names(process, "/etc/passwd")
    groups = access.account_names(process, "/etc/group")
    real = given.real
    stamps = {"a": real.st_atime, "m": real.st_mtime, "c": real.st_ctime, "B": real.st_ctime}

    def field(found: re.Match[str]) -> str:
        flag, width, style, part, datum = found[1], found[2], found[3], found[4], found[5]
        if datum in ("%", "n", "t"):
            text = {"%": "%", "n": "\n", "t": "\t"}[datum]
        elif datum == "p":
            if style == "S":
                text = modes.filemode(given.mode)
                text = {"H": text[1:4], "M": text[4:7], "L": text[7:10]}.get(part, text)
            else:
                number = {"L": given.mode & 0o777, "M": given.mode >> 9 & 7, "H": given.mode >> 12}.get(
                    part, given.mode
                )
                text = f"{number:o}"
        elif datum in "ug":
            number, names = (given.uid, users) if datum == "u" else (given.gid, groups)
            text = access.name_of(names, number) if style == "S" else str(number)
        elif datum in stamps:
            stamp = stamps[datum]
            text = time.strftime("%b %e %H:%M:%S %Y", time.gmtime(stamp)) if style == "S" else str(int(stamp))
        elif datum == "f":
            text = (
                (",".join(given.flags) or "-")
                if style == "S"
                else str(sum(_FLAG_BITS.get(one, 0) for one in given.flags))
            )
        elif datum == "T":
            text = (
                {"d": "Directory", "l": "Symbolic Link", "c": "Character Device", "-": "Regular File"}.get(
                    modes.filemode(given.mode)[0], "Fifo File"
                )
                if part == "H"
                else {"d": "/", "l": "@"}.get(modes.filemode(given.mode)[0], "*" if given.mode & 0o111 else "")
            )
        elif datum == "Y":
            text = (
                f" -> {os.readlink(place.backing)}"
                if given.is_link and style != "S"
                else os.readlink(place.backing)
                if given.is_link
                else ""
            )
        else:
            text = {
                "z": str(given.size),
                "N": name,
                "i": str(real.st_ino),
                "l": str(real.st_nlink),
                "d": str(real.st_dev),
                "k": "4096",
                "b": str((given.size + 511) // 512),
                "r": "0",
                "v": "0",
                "R": access.seen_path(process, place),
            }[datum]
        if not width:
            return text
        return text.ljust(int(width)) if "-" in flag else text.rjust(int(width), "0" if "0" in flag else " ")

    return re.sub(r"%([-#+ 0]*)(\d*)(?:\.\d+)?([DOUXFS]?)([HML]?)([a-zA-Z%])", lambda found: field(found), form)


_FLAG_BITS = {
    "nodump": 1,
    "uchg": 2,
    "uappnd": 4,
    "opaque": 8,
    "uunlnk": 16,
    "uarch": 2048,
    "arch": 65536,
    "schg": 131072,
    "sappnd": 262144,
    "sunlnk": 1048576,
}


def _long_status(process: Process, name: str, given: access.Status) -> str:
    users = access.account_names(process, "/etc/passwd")
    groups = access.account_names(process, "/etc/group")
    kind = {"d": "Directory", "l": "Symbolic Link", "c": "Character Device", "p": "Fifo File"}
    stamps = [
        time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(one))
        for one in (given.real.st_atime, given.real.st_mtime, given.real.st_ctime)
    ]
    text = modes.filemode(given.mode)
    user, group = access.name_of(users, given.uid), access.name_of(groups, given.gid)
    return (
        f'  File: "{name}"\n  Size: {given.size:<12} FileType: {kind.get(text[0], "Regular File")}\n'
        f"  Mode: ({modes.S_IMODE(given.mode):04o}/{text})         Uid: ({given.uid:5d}/{user:>8})"
        f"  Gid: ({given.gid:5d}/{group:>8})\n"
        f"Device: 0,{given.real.st_dev & 255}   Inode: {given.real.st_ino}    Links: {given.real.st_nlink}\n"
        f"Access: {stamps[0]}\nModify: {stamps[1]}\nChange: {stamps[2]}\n"
    )


def ls_main(process: Process) -> int:
    options = Options(
        process,
        "1ABCFGHILPRSTUWabcdfghiklmnopqrstuwxy,",
        "usage: ls [-ABCFGHILPRSTUWZabcdfghiklmnopqrstuwxy1,] [--color=when] [-D format] [file ...]",
        1,
    )
    operands = sorted(options.operands) or ["."]
    files: list[tuple[str, Location]] = []
    directories: list[tuple[str, Location]] = []
    failed = 0
    for operand in operands:
        try:
            place = existing(process, operand, follow="l" not in options and "d" not in options)
            folder = place.backing.is_dir() and "d" not in options
            (directories if folder else files).append((operand, place))
        except OSError as error:
            process.err(f"ls: {operand}: {strerror(error)}\n")
            failed = 1
    _list(process, files, options)
    for number, (operand, place) in enumerate(directories):
        failed |= _list_directory(
            process, operand, place, options, titled=len(operands) > 1, first=not files and not number
        )
    return failed


def _list_directory(
    process: Process, operand: str, place: Location, options: Options, titled: bool, first: bool
) -> int:
    if titled:
        process.out(f"{'' if first else chr(10)}{operand}:\n")
    hidden = "a" in options or "A" in options
    found = [(name, child) for name, child in access.children(process, place) if hidden or not name.startswith(".")]
    if "a" in options:
        found = [(".", place), ("..", place), *found]
    if any(letter in options for letter in "lno"):
        blocks = sum(_blocks(process, child) for _, child in found)
        unit = 1024 if "k" in options else access.block_size(process)
        process.out(f"total {(blocks * 512 + unit - 1) // unit}\n")
    _list(process, found, options)
    if "R" in options:
        for name, child in found:
            if name not in (".", "..") and child.backing.is_dir() and not child.backing.is_symlink():
                _list_directory(process, f"{operand.rstrip('/')}/{name}", child, options, titled=True, first=False)
    return 0


def _blocks(process: Process, place: Location) -> int:
    """st_blocks: a device has none, nor a short link, which lies in its inode."""
    given = access.status(process, place)
    if given.is_link or not (given.is_directory or modes.S_ISREG(given.mode)):
        return 0
    return (given.size + 511) // 512


def _list(process: Process, found: list[tuple[str, Location]], options: Options) -> None:
    rows = [(name, place, access.status(process, place)) for name, place in found]
    if "t" in options:
        rows.sort(key=lambda row: -row[2].real.st_mtime_ns)
    if "S" in options:
        rows.sort(key=lambda row: -row[2].size)
    if "r" in options:
        rows.reverse()
    if not any(letter in options for letter in "lno"):
        for name, _, given in rows:
            number = f"{given.real.st_ino} " if "i" in options else ""
            mark = "/" if given.is_directory and ("F" in options or "p" in options) else ""
            process.out(f"{number}{name}{mark}\n")
        return
    users, groups = access.account_names(process, "/etc/passwd"), access.account_names(process, "/etc/group")
    table = []
    for name, place, given in rows:
        numeric = "n" in options
        owner = str(given.uid) if numeric else access.name_of(users, given.uid)
        group = str(given.gid) if numeric else access.name_of(groups, given.gid)
        when = time.gmtime(given.real.st_mtime)
        old = abs(clock.now() - given.real.st_mtime) > 180 * 86400
        stamp = time.strftime("%b %e %H:%M:%S %Y" if "T" in options else "%b %e  %Y" if old else "%b %e %H:%M", when)
        flags = ",".join(given.flags) or "-"
        link = f" -> {os.readlink(place.backing)}" if given.is_link else ""
        table.append(
            [
                modes.filemode(given.mode),
                str(given.real.st_nlink),
                owner,
                group,
                flags,
                f"{given.device:#x}" if modes.S_ISCHR(given.mode) else str(given.size),
                stamp,
                name + link,
            ]
        )
    widths = [max((len(row[column]) for row in table), default=0) for column in range(6)]
    for row in table:
        flags = f"{row[4]:<{widths[4]}} " if "o" in options else ""
        owners = f"{row[2]:<{widths[2]}}  {row[3]:<{widths[3]}}"
        process.out(f"{row[0]}  {row[1]:>{widths[1]}} {owners}  {flags}{row[5]:>{widths[5]}} {row[6]} {row[7]}\n")


def find_main(process: Process) -> int:
    from .find import main

    return main(process)


def du_main(process: Process) -> int:
    options = Options(process, "AHLPasd:chkmgtB:nxI:", "usage: du [-AcHhklmLNnPx] [-a | -s | -d depth] [file ...]", 1)
    unit = 1024 if "k" in options else 1 << 20 if "m" in options else access.block_size(process)

    def shown(size: int) -> str:
        return _human(size) if "h" in options else str((size + unit - 1) // unit)

    def measure(path: str, place: Location, depth: int) -> int:
        total = access.status(process, place).size
        if place.backing.is_dir() and not place.backing.is_symlink():
            total = 512
            for name, child in access.children(process, place):
                if child.mount["id"] == place.mount["id"] or "x" not in options:
                    total += measure(f"{path.rstrip('/')}/{name}", child, depth + 1)
        limit = 0 if "s" in options else int(options.get("d") or 1 << 20)
        if depth <= limit and (depth == 0 or "a" in options or place.backing.is_dir()):
            process.out(f"{shown(total)}\t{path}\n")
        return total

    return each(
        process,
        options.operands or ["."],
        lambda operand: measure(operand, existing(process, operand, follow=False), 0) and 0,
    )


def _human(size: float) -> str:
    for unit in "BKMGT":
        if size < 1024 or unit == "T":
            return f"{size:.1f}{unit}" if size < 10 and unit != "B" else f"{size:.0f}{unit}"
        size /= 1024
    return ""


def _digest(process: Process, algorithm: str) -> int:
    label = algorithm.upper()
    options = Options(process, "c:pqrs:tx", f"usage: {algorithm} [-pqrtx] [-c string] [-s string] [files ...]", 1)

    def line(data: bytes, name: str) -> str:
        from hashlib import new

        digest = new(algorithm, data, usedforsecurity=False).hexdigest()
        if "q" in options or not name:
            return digest
        return f"{digest} {name}" if "r" in options else f"{label} ({name}) = {digest}"

    def one(operand: str) -> int:
        text = line(access.read_all(process, operand), operand)
        wanted = options.get("c")
        matches = wanted is None or text.rpartition(" ")[2] == wanted
        process.out(text + ("" if matches else " [ Failed ]") + "\n")
        return 0 if matches else 2

    if "s" in options:
        text = options.get("s") or ""
        process.out(line(os.fsencode(text), f'"{text}"') + "\n")
        return 0
    if not options.operands:
        process.out(line(process.stdin(), "") + "\n")
        return 0
    failed = 0
    for operand in options.operands:
        try:
            failed |= one(operand)
        except OSError as error:
            process.err(f"{process.name}: {operand}: {strerror(error)}\n")
            failed |= 1
    return failed


def sha256_main(process: Process) -> int:
    return _digest(process, "sha256")


def sha512_main(process: Process) -> int:
    return _digest(process, "sha512")


def md5_main(process: Process) -> int:
    return _digest(process, "md5")


def echo_main(process: Process) -> int:
    process.out(builtins.echo(process.argv[1:]))
    return 0


def printf_main(process: Process) -> int:
    words = process.argv[1:]
    data, rc, problem = builtins.printf(words[1:] if words[:1] == ["--"] else words)
    process.out(data)
    if problem:
        process.err(problem)
    return rc


def tar_main(process: Process) -> int:
    from .archive import main

    return main(process)
