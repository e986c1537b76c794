"""sshd_config(5): on which addresses sshd listens, and a new list of them with every other byte left as it was."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from jails.freebsd.command import Argv, argv

PATH = "/etc/ssh/sshd_config"

_LINE = re.compile(r"\s*(?P<keyword>[A-Za-z]+)(?:\s*=\s*|\s+)(?P<value>.*?)\s*")
_SUGGESTED = re.compile(r"#\s*ListenAddress\b", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(?P<ip>[^]]+)\](?::(?P<port>\d+))?")
_WITH_PORT = re.compile(r"(?P<ip>[^:]+):(?P<port>\d+)")


def test(path: str) -> Argv:
    """See that sshd would take a file, without using it; silent and 0 where it would."""
    from jails.freebsd import names

    return argv("/usr/sbin/sshd", "-t", "-f", names.require("path", path, names.path_error))


def listen_addresses(text: str) -> tuple[str, ...]:
    """The values of ListenAddress as they stand in the file; () where it has none: then sshd takes every address."""
    return tuple(value for _, keyword, value in _global(text) if keyword == "listenaddress")


def ports(text: str) -> tuple[int, ...]:
    """Where sshd listens at addresses that name no port of their own: each `Port`, or 22 (sshd_config(5))."""
    found = [value for _, keyword, value in _global(text) if keyword == "port"]
    return tuple(dict.fromkeys(int(value) for value in found if value.isdigit())) or (22,)


def includes(text: str) -> bool:
    """Whether it reads other files, which may name addresses of their own."""
    return any(keyword == "include" for _, keyword, _ in _global(text))


def plain_address(value: str) -> tuple[str, int | None]:
    """`192.0.2.2` and 22 of `192.0.2.2:22`, without a port None; IPv6 in its shortest form. "" for a name."""
    words = value.strip('"').split()
    text, port = words[0] if words else "", None
    match = _BRACKETED.fullmatch(text) or (_WITH_PORT.fullmatch(text) if text.count(":") == 1 else None)
    if match is not None:
        text, port = match["ip"], int(match["port"]) if match["port"] else None
    try:
        return str(ipaddress.ip_address(text.partition("%")[0])), port
    except ValueError:
        return "", port


def with_listen_addresses(text: str, addresses: Iterable[str]) -> str:
    """The file with these and no other lines of ListenAddress.

    They take the place of the first that was there, else come after the commented ones that sshd_config is shipped
    with, else before the first Match block, which only holds for some connections. ValueError for what is no address.
    """
    new = [f"ListenAddress {ipaddress.ip_address(address)}" for address in addresses]
    lines = text.split("\n")
    old = [number for number, keyword, _ in _global(text) if keyword == "listenaddress"]
    end = "\r" if lines and lines[0].endswith("\r") else ""
    place = old[0] if old else _place(text, lines)
    kept = [[line] for line in lines]
    for number in old:
        kept[number] = []
    kept.insert(place, [line + end for line in new])
    return "\n".join(line for group in kept for line in group)


def _place(text: str, lines: list[str]) -> int:
    limit = next((number for number, keyword, _ in _lines(text) if keyword == "match"), None)
    before = lines if limit is None else lines[:limit]
    suggested = [number for number, line in enumerate(before) if _SUGGESTED.match(line)]
    if suggested:
        return suggested[-1] + 1
    if limit is not None:
        return limit
    # A file that ends with a newline has an empty last part.
    return len(lines) - 1 if lines and not lines[-1] else len(lines)


def _global(text: str) -> Iterable[tuple[int, str, str]]:
    """What stands before the first Match block: number of the line, keyword in small letters, value."""
    for number, keyword, value in _lines(text):
        if keyword == "match":
            return
        yield number, keyword, value


def _lines(text: str) -> Iterable[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n")):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is not None:
            yield number, match["keyword"].lower(), match["value"].partition(" #")[0].strip()
