"""jls(8): lists jails as text and, by libxo(3), as JSON, XML or HTML.

Peculiarities that are FreeBSD's own: parameters asked for by name lose their type and print as bare numbers, and
12.1 prints an empty string as ``/""}""``.
"""

from __future__ import annotations

import json
from typing import Any

from jails.hosts.simulated import prison

Options = dict[str, Any]


def main(process: Any) -> int:
    options = _arguments(process)
    if options is None:
        return 1
    with process.host.reading() as state:
        release = process.host.release(state)
        try:
            columns = _columns(options, release)
        except prison.JailError as problem:
            process.err(f"jls: {problem.message}\n")
            return 1
        failure = ""
        jails: list[dict[str, Any]] = []
        try:
            jails = _chosen(process, state, options)
        except prison.JailError as problem:
            failure = problem.message
        kids = prison.children(state)
        rows = [prison.values(state, jail, release, within=process.jid, kids=kids) for jail in jails]
    if options["check"]:
        return 1 if failure else 0
    printer = _Printer(options, columns, prison.version(release)[0])
    text = str(getattr(printer, options["style"])(rows))
    if failure and options["style"] != "text":
        text = ""
    process.out(text)
    if failure:
        process.err(f"jls: {failure}\n")
        return 1
    return 0


def _arguments(process: Any) -> Options | None:
    options: Options = {"style": "text", "pretty": False, "flags": set(), "jail": None, "names": [], "check": False}
    words = []
    for word in process.argv[1:]:
        if not word.startswith("--libxo"):
            words.append(word)
            continue
        for choice in filter(None, word.partition("=")[2].split(",")):
            if choice == "pretty":
                options["pretty"] = True
            elif choice in ("json", "xml", "text", "html"):
                options["style"] = choice
            elif choice not in ("warn", "no-locale"):
                process.err(f"jls: unknown libxo option value: '{choice}'\n")
                return None
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        for position, letter in enumerate(word[1:], 1):
            if letter == "j":
                options["jail"] = word[position + 1 :] or (words.pop(0) if words else "")
                break
            if letter == "c" and process.release_at_least(14):
                options["check"] = True
            elif letter in "adhNnqsv":
                _flag(options["flags"], letter)
            else:
                process.err(f"jls: illegal option -- {letter}\njls: usage: jls [-dhNnqv] [-j jail] [param ...]\n")
                return None
    options["names"] = words
    return options


def _flag(flags: set[str], letter: str) -> None:
    """Later options displace earlier ones, as in jls(8)'s option loop."""
    displaced = {"h": "sv", "n": "v", "s": "hv", "v": "hns"}
    flags.difference_update(displaced.get(letter, ""))
    flags.add("d" if letter == "a" else letter)
    if letter == "s":
        flags.update("nq")


def _columns(options: Options, release: str) -> list[tuple[prison.Parameter, bool]]:
    """What is printed: (parameter, typed). Empty: jls's own two layouts."""
    known = prison.parameters(release)
    columns: list[tuple[prison.Parameter, bool]] = []
    names = options["names"]
    if not names and options["flags"] & {"h", "n"}:
        names = ["all"]
    for name in names:
        if name == "all":
            seen = {row.name for row, _ in columns}
            columns += [(row, True) for row in known.values() if row.name not in seen]
        elif name not in known:
            raise prison.JailError(f"unknown parameter: {name}")
        elif all(row.name != name for row, _ in columns):
            columns.append((known[name], False))
    return columns


def _chosen(process: Any, state: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    dying = "d" in options["flags"]
    if options["jail"] is not None:
        return [prison.get(state, options["jail"], dying=dying, within=process.jid)]
    return prison.all_prisons(state, within=process.jid, dying=dying)


class _Printer:
    """Renders rows of values in one of libxo's styles."""

    def __init__(self, options: Options, columns: list[tuple[prison.Parameter, bool]], major: int) -> None:
        self.flags: set[str] = options["flags"]
        self.pretty: bool = options["pretty"]
        self.columns = columns
        # libxo before 13 closed the empty default of a field one character late.
        self.empty = '/""}""' if major < 13 else '""'
        self.empty_json = '/""}' if major < 13 else ""

    def text(self, rows: list[dict[str, Any]]) -> str:
        if self.columns:
            head = " ".join(row.name for row, _ in self.columns) + "\n" if "h" in self.flags else ""
            return head + "".join(self._line(values) + "\n" for values in rows)
        if "v" in self.flags:
            return _VERBOSE_HEAD + "".join(map(_verbose, rows))
        if "N" in self.flags:
            head = f" {'JID':<15} {'IP Address':<15} {'Hostname':<29} Path\n"
            return head + "".join(f" {v['name']:<15} " + _short(v) for v in rows)
        head = "   JID  IP Address      Hostname                      Path\n"
        return head + "".join(f"{v['jid']:6d}  " + _short(v) for v in rows)

    def _line(self, values: dict[str, Any]) -> str:
        return " ".join(
            self._field(row, typed, values[row.name])
            for row, typed in self.columns
            if not ("s" in self.flags and self._skipped(row, values))
        )

    def _skipped(self, row: prison.Parameter, values: dict[str, Any]) -> bool:
        head = row.name.partition(".")[0]
        sys_parent = "." in row.name and head in values
        return row.access == "RD" or (sys_parent and values[head] != "new")

    def _field(self, row: prison.Parameter, typed: bool, value: Any) -> str:
        named = "n" in self.flags
        if typed and named and row.type == "bool":
            head, dot, tail = row.name.rpartition(".")
            return row.name if value else f"{head}{dot}no{tail}"
        prefix = f"{row.name}=" if named else ""
        if value == [] or (value == "" and row.type in ("ip4", "ip6")):
            return prefix + ('""' if "q" in self.flags else "" if named else "-")
        text = _export(row, typed, value)
        if text == "":
            return prefix + self.empty
        return prefix + (_quote(text) if "q" in self.flags else text)

    def json(self, rows: list[dict[str, Any]]) -> str:
        items = [self._members(values) for values in rows]
        if self.pretty:
            return _json_pretty(items)
        parts = []
        for members in items:
            text = ""
            for name, value in members:
                if isinstance(value, list):
                    text += (", " if text else " ") + f"{json.dumps(name)}: [{','.join(map(json.dumps, value))}]"
                else:
                    text += ("," if text else "") + f"{json.dumps(name)}:{_json(value)}"
            parts.append("{" + text + "}")
        return '{"__version": "2", "jail-information": {"jail": [' + ", ".join(parts) + "]}\n}\n"

    def _members(self, values: dict[str, Any]) -> list[tuple[str, Any]]:
        if self.columns:
            return [self._member(row, typed, values[row.name]) for row, typed in self.columns]
        if "v" in self.flags:
            return [
                ("jid", values["jid"]),
                ("hostname", values["host.hostname"]),
                ("path", values["path"]),
                ("name", values["name"]),
                ("state", "DYING" if values["dying"] else "ACTIVE"),
                ("cpusetid", values["cpuset.id"]),
                ("ipv4_addrs", values["ip4.addr"]),
                ("ipv6_addrs", values["ip6.addr"]),
            ]
        first = ("name", values["name"]) if "N" in self.flags else ("jid", values["jid"])
        address = values["ip4.addr"][0] if values["ip4.addr"] else ""
        return [first, ("ipv4", address), ("hostname", values["host.hostname"]), ("path", values["path"])]

    def _member(self, row: prison.Parameter, typed: bool, value: Any) -> tuple[str, Any]:
        if row.type in ("ip4", "ip6"):
            return row.name, value
        if typed and row.type == "bool" and "n" in self.flags:
            return row.name, value
        return row.name, _export(row, typed, value) or self.empty_json

    def xml(self, rows: list[dict[str, Any]]) -> str:
        indent, newline = ("  ", "\n") if self.pretty else ("", "")
        text = f'<jail-information version="2">{newline}'
        for values in rows:
            text += f"{indent}<jail>{newline}"
            for name, value in self._members(values):
                for word in value if isinstance(value, list) else [value]:
                    word = "true" if word is True else "false" if word is False else str(word)
                    text += f"{indent * 2}<{name}>{escape(word)}</{name}>{newline}"
            text += f"{indent}</jail>{newline}"
        return text + "</jail-information>\n"

    def html(self, rows: list[dict[str, Any]]) -> str:
        """The first layout in full; the others line by line, as their fields are not told apart here."""
        if self.columns or "v" in self.flags:
            return "".join(_div("line", _div("text", line)) for line in self.text(rows).splitlines()) + "\n"
        named = "N" in self.flags
        first = (" JID            ", " ") if named else ("   JID", "  ")
        text = _line_of(("title", "", first[0]), ("", "", first[1]), *_HTML_HEAD)
        for values in rows:
            members = self._members(values)
            widths = ("<15" if named else ">6", "<15.15", "<29.29", ".74")
            parts: list[tuple[str, str, str]] = []
            for number, ((name, value), width) in enumerate(zip(members, widths, strict=True)):
                if number:
                    parts.append(("", "", "  " if number == 1 and not named else " "))
                parts.append(("data", name, format(str(value), width)))
            text += _line_of(*parts)
        return text


_HTML_HEAD = (
    ("title", "", "IP Address"),
    ("", "", "      "),
    ("title", "", "Hostname"),
    ("", "", "                      "),
    ("title", "", "Path"),
)


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _div(kind: str, inside: str, tag: str = "") -> str:
    return f'<div class="{kind}"' + (f' data-tag="{tag}"' if tag else "") + f">{inside}</div>"


def _line_of(*parts: tuple[str, str, str]) -> str:
    return _div("line", "".join(_div(kind or "padding", escape(text), tag) for kind, tag, text in parts))


_VERBOSE_HEAD = (
    "   JID  Hostname                      Path\n"
    "        Name                          State\n"
    "        CPUSetID\n"
    "        IP Address(es)\n"
)


def _verbose(values: dict[str, Any]) -> str:
    lines = [
        f"{values['jid']:6d}  {values['host.hostname'][:29]:<29} {values['path'][:74]}",
        f"        {values['name'][:29]:<29} {'DYING' if values['dying'] else 'ACTIVE'}",
        f"        {values['cpuset.id']}",
        *(f"        {address}" for address in values["ip4.addr"] + values["ip6.addr"]),
    ]
    return "\n".join(lines) + "\n"


def _short(values: dict[str, Any]) -> str:
    address = values["ip4.addr"][0] if values["ip4.addr"] else ""
    return f"{address[:15]:<15} {values['host.hostname'][:29]:<29} {values['path'][:74]}\n"


def _export(row: prison.Parameter, typed: bool, value: Any) -> str:
    """libjail's jailparam_export."""
    if row.type in ("ip4", "ip6"):
        return ",".join(value)
    if row.type == "jailsys":
        return value if typed else str(prison.JAILSYS.index(value))
    if row.type == "bool":
        return ("true" if value else "false") if typed else str(int(value))
    return str(value)


def _quote(text: str) -> str:
    if "'" in text:
        return f'"{text}"'
    if '"' in text:
        return f"'{text}'"
    return f'"{text}"' if " " in text or "\t" in text else text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_pretty(items: list[list[tuple[str, Any]]]) -> str:
    lines = ["{", '  "__version": "2", ', '  "jail-information": {', '    "jail": [']
    for number, members in enumerate(items):
        lines.append("      {")
        for position, (name, value) in enumerate(members):
            comma = "," if position + 1 < len(members) else ""
            if isinstance(value, list):
                lines.append(f"        {json.dumps(name)}: [")
                lines += [f"          {_json(v)}{',' if i + 1 < len(value) else ''}" for i, v in enumerate(value)]
                lines.append(f"        ]{comma}")
            else:
                lines.append(f"        {json.dumps(name)}: {_json(value)}{comma}")
        lines.append("      }" + ("," if number + 1 < len(items) else ""))
    return "\n".join([*lines, "    ]", "  }", "}"]) + "\n"
