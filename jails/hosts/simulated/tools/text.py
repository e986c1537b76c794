"""head, tail, wc, sort, uniq, cut, tr, grep, sed, cmp, diff, xargs: text tools, as far as hosts are asked for them."""

from __future__ import annotations

import errno
import os
import re
import time

from jails.hosts.simulated import daemons
from jails.hosts.simulated.host import strerror
from jails.hosts.simulated.process import Process

from . import access
from .access import Options, each, read_all


def head_main(process: Process) -> int:
    if len(process.argv) > 1 and re.fullmatch(r"-\d+", process.argv[1]):
        process.argv[1:2] = ["-n", process.argv[1][1:]]
    options = Options(process, "c:n:qv", "usage: head [-n lines | -c bytes] [file ...]", 1)
    count = _count(process, options.get("c") or options.get("n") or "10", "byte" if "c" in options else "line")
    many = len(options.operands) > 1

    def one(operand: str) -> int:
        real = process.fds[0] if operand == "-" else access.open_file(process, operand, os.O_RDONLY)
        try:
            if many:
                process.out(f"==> {operand} <==\n")
            process.out(_beginning(real, count, "c" not in options))
        finally:
            if operand != "-":
                os.close(real)
        return 0

    return each(process, options.operands or ["-"], one)


def _beginning(real: int, count: int, by_line: bool) -> bytes:
    """The first lines or bytes; no more is read than the buffer that holds the last of them."""
    data = b""
    while (data.count(b"\n") if by_line else len(data)) < count and (part := os.read(real, 1 << 16)):
        data += part
    return b"".join(lines_of(data)[:count]) if by_line else data[:count]


def lines_of(data: bytes) -> list[bytes]:
    """Lines with their ends: only a newline ends a line."""
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def texts_of(data: bytes) -> list[str]:
    """Lines as text without their ends."""
    return [os.fsdecode(line.removesuffix(b"\n")) for line in lines_of(data)]


def _count(process: Process, text: str, what: str) -> int:
    if not text.isdigit():
        process.exit(1, f"illegal {what} count -- {text}")
    return int(text)


def tail_main(process: Process) -> int:
    if len(process.argv) > 1 and re.fullmatch(r"[-+]\d+", process.argv[1]):
        process.argv[1:2] = ["-n", process.argv[1].lstrip("-")]
    options = Options(process, "c:b:n:fFqr", "usage: tail [-F | -f | -r] [-q] [-b # | -c # | -n #] [file ...]", 1)
    text = options.get("c") or options.get("n") or "10"
    if not re.fullmatch(r"[-+]?\d+", text):
        process.exit(1, f"illegal offset -- {text}")
    many = len(options.operands) > 1
    sizes: dict[str, int] = {}

    def one(operand: str) -> int:
        data = read_all(process, operand)
        sizes[operand] = len(data)
        units = [data[at : at + 1] for at in range(len(data))] if "c" in options else lines_of(data)
        number = int(text.lstrip("+-"))
        chosen = units[max(number - 1, 0) :] if text[0] == "+" else units[-number:] if number else []
        if many and "q" not in options:
            process.out(f"==> {operand} <==\n")
        process.out(b"".join(reversed(chosen) if "r" in options else chosen))
        return 0

    failed = each(process, options.operands or ["-"], one)
    if ("f" in options or "F" in options) and sizes and "-" not in sizes:
        _follow(process, sizes, by_name="F" in options)
    return failed


def _follow(process: Process, sizes: dict[str, int], by_name: bool) -> None:
    """Until a signal, or until something is written that nobody reads: sizes are looked at five times a second."""
    with process.host.changing() as state:
        words = " ".join(process.argv)
        daemons.start(state, "tail", words, jid=process.jid, user=process.user, real=os.getpid())
    while True:
        process.flush()
        for operand, seen in sizes.items():
            try:
                path = process.path(operand)
                now = path.stat().st_size
            except OSError:
                continue
            if now < seen:
                seen = 0
            if now > seen:
                with open(path, "rb") as file:
                    file.seek(seen)
                    process.write(1, file.read(now - seen))
            sizes[operand] = now
        time.sleep(0.2)


def wc_main(process: Process) -> int:
    options = Options(process, "clmwL", "usage: wc [-Lclmw] [file ...]", 1)
    chosen = [letter for letter in "lwcm" if letter in options] or ["l", "w", "c"]
    totals = [0] * len(chosen)

    def line(counts: list[int], name: str) -> None:
        process.out("".join(f" {count:7d}" for count in counts) + (f" {name}" if name else "") + "\n")

    def one(operand: str) -> int:
        data = read_all(process, operand)
        known = {
            "l": data.count(b"\n"),
            "w": len(data.split()),
            "c": len(data),
            "m": len(data.decode(errors="replace")),
        }
        counts = [known[letter] for letter in chosen]
        line(counts, "" if operand == "-" else operand)
        totals[:] = [sum(pair) for pair in zip(totals, counts, strict=True)]
        return 0

    failed = each(process, options.operands or ["-"], one)
    if len(options.operands) > 1:
        line(totals, "total")
    return failed


def sort_main(process: Process) -> int:
    options = Options(
        process,
        "bdfhnrsuk:t:o:cz",
        "usage: sort [-bcdfhnrsuz] [-k field1[,field2]] [-t char] [-o output] [file ...]",
        2,
    )
    lines: list[str] = []
    for operand in options.operands or ["-"]:
        try:
            lines += texts_of(read_all(process, operand))
        except OSError as error:
            process.err(f"sort: {operand}: {strerror(error)}\n")
            return 2

    def key(line: str) -> tuple[float, str] | str:
        text = line
        if "k" in options:
            found = re.match(r"(\d+)(?:\.\d+)?([a-z]*)(?:,(\d+))?", options.get("k") or "1")
            fields = line.split(options.get("t")) if "t" in options else line.split()
            last = int(found[3]) if found and found[3] else len(fields)
            text = " ".join(fields[int(found[1]) - 1 : last]) if found else line
        if "n" in options or "h" in options:
            number = re.match(r"\s*(-?\d+(?:\.\d+)?)", text)
            return (float(number[1]) if number else 0.0, line)
        return text.lower() if "f" in options else text

    lines.sort(key=key, reverse="r" in options)
    if "u" in options:
        lines = list(dict.fromkeys(lines))
    data = os.fsencode("".join(line + "\n" for line in lines))
    if "o" in options:
        real = access.open_file(process, options.get("o") or "", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(real, data)
        os.close(real)
    else:
        process.out(data)
    return 0


def uniq_main(process: Process) -> int:
    options = Options(process, "cdu", "usage: uniq [-c | -d | -u] [input [output]]", 1)
    runs: list[tuple[bytes, int]] = []
    for line in (one.removesuffix(b"\n") for one in lines_of(read_all(process, (options.operands or ["-"])[0]))):
        if runs and runs[-1][0] == line:
            runs[-1] = (line, runs[-1][1] + 1)
        else:
            runs.append((line, 1))
    for line, count in runs:
        if ("d" in options and count == 1) or ("u" in options and count > 1):
            continue
        process.out((b"%4d " % count if "c" in options else b"") + line + b"\n")
    return 0


def cut_main(process: Process) -> int:
    options = Options(process, "b:c:d:f:s", "usage: cut -f list [-s] [-w | -d delim] [file ...]", 1)
    wanted = options.get("f") or options.get("c") or options.get("b")
    if wanted is None or not re.fullmatch(r"[\d,-]+", wanted):
        access.wrong_usage(process, "", "usage: cut -f list [-s] [-w | -d delim] [file ...]", 1)
    ranges = []
    for part in wanted.split(","):
        first, dash, last = part.partition("-")
        ranges.append((int(first or 1), int(last or 1 << 30) if dash else int(first)))
    delimiter = options.get("d") or "\t"

    def one(operand: str) -> int:
        for line in texts_of(read_all(process, operand)):
            if "f" in options and delimiter not in line:
                if "s" not in options:
                    process.out(line + "\n")
                continue
            pieces = line.split(delimiter) if "f" in options else list(line)
            kept = [piece for at, piece in enumerate(pieces, 1) if any(low <= at <= high for low, high in ranges)]
            process.out((delimiter if "f" in options else "").join(kept) + "\n")
        return 0

    return each(process, options.operands or ["-"], one)


def tr_main(process: Process) -> int:
    options = Options(process, "cCdsu", "usage: tr [-Ccsu] string1 string2\n       tr [-Ccu] -d string1", 1)
    if not options.operands:
        access.wrong_usage(process, "", "usage: tr [-Ccsu] string1 string2", 1)
    one = _tr_set(options.operands[0])
    if "c" in options or "C" in options:
        one = [number for number in range(256) if number not in one]
    data = process.stdin()
    if "d" in options:
        process.out(bytes(byte for byte in data if byte not in one))
        return 0
    other = _tr_set(options.operands[1]) if len(options.operands) > 1 else one
    other += other[-1:] * (len(one) - len(other))
    table = dict(zip(one, other, strict=False))
    out = bytearray()
    for byte in data:
        new = table.get(byte, byte)
        if "s" in options and out and out[-1] == new and new in other:
            continue
        out.append(new)
    process.out(bytes(out))
    return 0


def _tr_set(text: str) -> list[int]:
    from jails.hosts.simulated.builtins import unescape

    classes = {
        "[:upper:]": "A-Z",
        "[:lower:]": "a-z",
        "[:digit:]": "0-9",
        "[:alpha:]": "A-Za-z",
        "[:alnum:]": "A-Za-z0-9",
        "[:space:]": " \t\n\r",
    }
    for name, letters in classes.items():
        text = text.replace(name, letters)
    data, _ = unescape(os.fsencode(text))
    found: list[int] = []
    at = 0
    while at < len(data):
        if data[at + 1 : at + 2] == b"-" and at + 2 < len(data):
            found.extend(range(data[at], data[at + 2] + 1))
            at += 3
        else:
            found.append(data[at])
            at += 1
    return found


def posix_pattern(text: str, extended: bool) -> str:
    """A POSIX regular expression in Python's terms: a basic one has its operators behind backslashes."""
    classes = {
        "alpha": "a-zA-Z",
        "digit": "0-9",
        "alnum": "a-zA-Z0-9",
        "upper": "A-Z",
        "lower": "a-z",
        "space": r"\s",
        "blank": r" \t",
        "punct": r"!-/:-@\[-`{-~",
        "xdigit": "0-9A-Fa-f",
    }
    out, at = "", 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and at + 1 < len(text):
            following = text[at + 1]
            swapped = not extended and following in "(){}|+?"
            out += following if swapped else {"<": r"\b", ">": r"\b"}.get(following, "\\" + following)
            at += 2
            continue
        if letter == "[":
            end = text.find("]", at + (3 if text[at + 1 : at + 2] == "^" else 2))
            while end > 0 and text[at:end].count("[:") > text[at : end + 1].count(":]"):
                end = text.find("]", end + 1)
            if end > 0:
                inside = text[at + 1 : end].replace("\\", "\\\\")
                for name, letters in classes.items():
                    inside = inside.replace(f"[:{name}:]", letters)
                out += f"[{inside}]"
                at = end + 1
                continue
        out += "\\" + letter if not extended and letter in "(){}|+?" else letter
        at += 1
    return out


def grep_main(process: Process) -> int:
    is_line_by_line = "--line-buffered" in process.argv
    process.argv[:] = [word for word in process.argv if word != "--line-buffered"]
    options = Options(
        process,
        "EFGHLRZabcd:e:f:hilm:noqrsvwxA:B:C:",
        "usage: grep [-abcDEFGHhIiLlmnOopqRSsUVvwxz] [-A num] [-B num] [-C[num]]\n"
        "\t[-e pattern] [-f file] [--binary-files=value] [--color=when]\n\t[pattern] [file ...]",
        2,
    )
    operands = list(options.operands)
    patterns = [value for letter, value in options.all if letter == "e"]
    if not patterns:
        if not operands:
            access.wrong_usage(
                process, "", "usage: grep [-abcDEFGHhIiLlmnOopqRSsUVvwxz] [-A num] [-B num] [-C[num]]", 2
            )
        patterns = [operands.pop(0)]
    texts = [
        re.escape(one) if "F" in options else posix_pattern(one, "E" in options)
        for one in "\n".join(patterns).split("\n")
    ]
    joined = "|".join(f"(?:{one})" for one in texts)
    joined = rf"(?:{joined})\Z" if "x" in options else rf"(?<!\w)(?:{joined})(?!\w)" if "w" in options else joined
    try:
        pattern = re.compile(joined, re.IGNORECASE if "i" in options else 0)
    except re.error:
        process.exit(2, "Invalid regular expression")
    names = operands or ["-"]
    if is_line_by_line and names == ["-"]:
        return _grep_as_it_comes(process, pattern)
    if "r" in options or "R" in options:
        names = [
            path
            for one in names
            for path, place in access.walk(process, one, process.locate(one))
            if place.backing.is_file()
        ]
    found = failed = 0
    for name in names:
        try:
            found |= _grep_file(
                process,
                options,
                pattern,
                name,
                (len(names) > 1 or "H" in options or "r" in options) and "h" not in options,
            )
        except OSError as error:
            failed = 2
            if "s" not in options:
                process.err(f"grep: {name}: {strerror(error)}\n")
        if found and "q" in options:
            return 0
    return failed or int(not found)


def _grep_as_it_comes(process: Process, pattern: re.Pattern[str]) -> int:
    """Of standard input, each line as soon as it is there."""
    rest, found = b"", 0
    while part := process.read():
        *lines, rest = (rest + part).split(b"\n")
        chosen = [line + b"\n" for line in lines if pattern.search(os.fsdecode(line))]
        found |= bool(chosen)
        process.write(1, b"".join(chosen))
    return int(not found)


def _grep_file(process: Process, options: Options, pattern: re.Pattern[str], name: str, titled: bool) -> int:
    count = 0
    shown = "(standard input)" if name == "-" else name
    limit = int(options.get("m") or 1 << 30)
    for number, line in enumerate(texts_of(read_all(process, name)), 1):
        match = (pattern.match if "x" in options else pattern.search)(line)
        if (match is None) != ("v" in options):
            continue
        count += 1
        if not any(letter in options for letter in "qlLc"):
            prefix = (f"{shown}:" if titled else "") + (f"{number}:" if "n" in options else "")
            for text in [one[0] for one in pattern.finditer(line)] if "o" in options else [line]:
                process.out(f"{prefix}{text}\n")
        if count >= limit:
            break
    if "c" in options:
        process.out((f"{shown}:" if titled else "") + f"{count}\n")
    if ("l" in options and count) or ("L" in options and not count):
        process.out(shown + "\n")
    return int(bool(count))


def sed_main(process: Process) -> int:
    from .sed import main

    return main(process)


def awk_main(process: Process) -> int:
    from .awk import main

    return main(process)


def cmp_main(process: Process) -> int:
    options = Options(process, "hlsxz", "usage: cmp [-l | -s | -x] [-hz] file1 file2 [skip1 [skip2]]", 2)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", "usage: cmp [-l | -s | -x] [-hz] file1 file2 [skip1 [skip2]]", 2)
    names = options.operands[:2]
    datas = []
    for name in names:
        try:
            datas.append(read_all(process, name))
        except OSError as error:
            if "s" not in options or error.errno != errno.ENOENT:
                process.err(f"cmp: {name}: {strerror(error)}\n")
            return 2
    one, other = datas
    if one == other:
        return 0
    if "s" not in options:
        at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            process.err(f"cmp: EOF on {names[0] if len(one) < len(other) else names[1]}\n")
        else:
            process.out(f"{names[0]} {names[1]} differ: char {at + 1}, line {one.count(10, 0, at) + 1}\n")
    return 1


def diff_main(process: Process) -> int:
    import difflib

    options = Options(process, "qruNabwU:L:", "usage: diff [-aBbdilpTtw] [-c | -e | -f | -n | -q | -u] file1 file2", 2)
    if len(options.operands) != 2:
        access.wrong_usage(process, "", "usage: diff [-aBbdilpTtw] [-c | -e | -f | -n | -q | -u] file1 file2", 2)
    texts = []
    for name in options.operands:
        try:
            texts.append([os.fsdecode(line) for line in lines_of(read_all(process, name))])
        except OSError as error:
            process.err(f"diff: {name}: {strerror(error)}\n")
            return 2
    if texts[0] == texts[1]:
        return 0
    if "q" in options:
        process.out(f"Files {options.operands[0]} and {options.operands[1]} differ\n")
        return 1
    one, other = options.operands
    for line in difflib.unified_diff(texts[0], texts[1], one, other, n=int(options.get("U") or 3)):
        process.out(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return 1


def xargs_main(process: Process) -> int:
    options = Options(
        process, "0I:L:n:oprt", "usage: xargs [-0opt] [-E eofstr] [-I replstr [-R replacements] [-S replsize]]", 1
    )
    text = os.fsdecode(process.stdin())
    words = text.split("\0") if "0" in options else text.splitlines() if "I" in options else text.split()
    words = [word for word in words if word]
    command = options.operands or ["echo"]
    if "I" in options:
        calls = [[one.replace(options.get("I") or "{}", word) for one in command] for word in words]
    else:
        size = int(options.get("n") or 5000)
        calls = [[*command, *words[at : at + size]] for at in range(0, len(words), size)]
    if not calls and "r" not in options and process.release_at_least(99):
        calls = [command]
    status = 0
    for call in calls:
        rc = process.run(call)
        if rc:
            status = 124 if rc == 255 else 1
    return status


def expr_main(process: Process) -> int:
    words = process.argv[1:]
    if (
        len(words) == 3
        and words[1] in ("+", "-", "*", "/", "%")
        and all(re.fullmatch(r"-?\d+", words[at]) for at in (0, 2))
    ):
        from jails.hosts.simulated.arithmetic import ArithmeticFault, calculate

        try:
            value = calculate(" ".join(words), {})
        except ArithmeticFault as fault:
            process.exit(2, str(fault))
        process.out(f"{value}\n")
        return int(value == 0)
    if len(words) == 3 and words[1] in ("=", "!="):
        answer = (words[0] == words[2]) == (words[1] == "=")
        process.out(f"{int(answer)}\n")
        return int(not answer)
    if len(words) == 3 and words[1] == ":":
        match = re.match(posix_pattern(words[2], extended=False), words[0])
        text = (match[1] if match.groups() else str(match.end())) if match else "0"
        process.out(f"{text}\n")
        return int(text in ("", "0"))
    process.err("expr: syntax error\n")
    return 2
