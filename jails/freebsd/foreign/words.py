"""What the readers of the tools' files have in common: lines of `name=value`, answers of yes, addresses, edits."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping

from jails.freebsd import rcconf
from jails.freebsd.foreign.model import Evidence, FileEdit

Parameters = dict[str, tuple[str, ...]]

TRUE = frozenset({"1", "yes", "true", "on"})
NULL = ("", "none", "0")


def is_true(value: object) -> bool:
    """As the tools take a switch: 1, yes, on and true, in any case."""
    return str(value).strip().lower() in TRUE


def variables(text: str) -> dict[str, str]:
    """What sh(1) gets from a file of assignments; a value that only running it would tell is left out."""
    read = rcconf.parse(text)
    return {} if read.reads else {name: value for name, value in read.values.items() if name not in read.unclear}


def service_enabled(evidence: Evidence, *names: str) -> bool:
    """Whether rc.conf sets one of NAME_enable to YES."""
    values = evidence.rc_values
    return any(is_true(values.get(f"{name}_enable", "")) for name in names)


def matching(files: Iterable[str], pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
    """The paths that a regular expression matches as a whole, in order, each with its match."""
    compiled = re.compile(pattern)
    for path in sorted(files):
        if match := compiled.fullmatch(path):
            yield path, match


def plain(address: str) -> str:
    """`192.0.2.1` of `em0|192.0.2.1/24`, or "" where it is no address."""
    words = address.rpartition("|")[2].split()
    try:
        return str(ipaddress.ip_address(words[0].partition("/")[0].partition("%")[0])) if words else ""
    except ValueError:
        return ""


def addresses(text: str, interface: str = "") -> tuple[str, ...]:
    """A list with commas, as jail.conf(5) wants it: each with the interface, where one is given or known."""
    found = []
    for item in (part.strip() for part in text.split(",")):
        if plain(item):
            found.append(item if "|" in item or not interface else f"{interface}|{item}")
    return tuple(found)


def by_version(items: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Addresses of IPv4, and of IPv6."""
    every = tuple(items)
    six = tuple(item for item in every if ":" in plain(item))
    return tuple(item for item in every if item not in six), six


def set_addresses(parameters: Parameters, items: Iterable[str]) -> None:
    four, six = by_version(items)
    if four:
        parameters["ip4.addr"] = four
    if six:
        parameters["ip6.addr"] = six


def edited(files: Mapping[str, str], path: str, after: str) -> tuple[FileEdit, ...]:
    """The edit that makes a file this text; none where it is so already."""
    before = files.get(path)
    return () if before == after else (FileEdit(path, before, after),)


def replaced(text: str, pattern: str, value: str) -> str:
    """The text with the last match of a pattern's one group replaced."""
    matches = list(re.finditer(pattern, text, re.MULTILINE))
    if not matches:
        return text
    match = matches[-1]
    return text[: match.start(1)] + value + text[match.end(1) :]


def dataset_at(evidence: Evidence, path: str) -> str:
    """The dataset mounted at exactly this path, or ""."""
    return evidence.dataset_by_mountpoint.get(path, "")


def release_in(text: str) -> str:
    """The first `12.1-RELEASE`, `14.2-STABLE` or the like in a text."""
    match = re.search(r"\d+\.\d+-(?:RELEASE|STABLE|CURRENT|BETA\d*|RC\d*|ALPHA\d*)(?:-p\d+)?", text)
    return match[0] if match else ""
