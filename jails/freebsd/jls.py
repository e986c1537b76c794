"""jls(8): every jail of a host, dying ones included, with all their parameters in one call."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

# JSON keeps names with spaces, quotes and newlines apart; plain jls(8) output does not.
LIST: Argv = ("jls", "-d", "--libxo=json", "-n")
LIST_TEXT: Argv = ("jls", "-d", "-n", "-q")

Value = str | bool | tuple[str, ...]

# What jls of 12.1 prints for an empty string, as JSON and as text.
_EMPTY = frozenset({'/""}', '/""}""', '""'})
_ADDRESS_LISTS = frozenset({"ip4.addr", "ip6.addr"})
_SHARING = {"0": "disable", "1": "new", "2": "inherit"}
_SHARED = frozenset({"host", "ip4", "ip6", "vnet", "sysvmsg", "sysvsem", "sysvshm"})


@dataclass(frozen=True)
class Jail:
    """One jail as the kernel has it. `jid` is of this start only, never an identity.

    `parameters` holds everything jls printed, under the names of jail(8): text, True or False, or a list of addresses.
    """

    jid: int
    name: str
    path: str
    hostname: str
    dying: bool
    vnet: bool
    ip4: str
    ip6: str
    ip4_addresses: tuple[str, ...]
    ip6_addresses: tuple[str, ...]
    parameters: Mapping[str, Value] = field(repr=False, hash=False)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.ip4_addresses + self.ip6_addresses

    @property
    def parent(self) -> int:
        """The parent's jid; 0 is the host."""
        return self.number("parent", 0)

    def number(self, parameter: str, default: int) -> int:
        value = self.parameters.get(parameter)
        return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value) else default

    def text(self, parameter: str) -> str:
        value = self.parameters.get(parameter)
        return value if isinstance(value, str) else ""


def one(name: str) -> Argv:
    """As LIST, of one jail that runs; its status is 1 where there is none of that name."""
    return argv("jls", "-j", names.require("name", name, names.jail_reference_error), "--libxo=json", "-n")


def parse(output: bytes) -> tuple[Jail, ...]:
    """What LIST printed; ValueError when it is no such output (an empty one included: then jls did not run)."""
    try:
        found = json.loads(output.decode("utf-8", "replace"), strict=False)
        jails = found["jail-information"]["jail"]
        return tuple(_jail({key: _json_value(value) for key, value in jail.items()}) for jail in jails)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"jls: expected JSON as `{' '.join(LIST)}` prints it: {error}") from None


def parse_text(output: bytes) -> tuple[Jail, ...]:
    """What LIST_TEXT printed, for a jls without libxo; ValueError when it is no such output."""
    jails: list[Jail] = []
    parameters: dict[str, Value] = {}
    for key, value, end in _words(output.decode("utf-8", "replace")):
        parameters[key] = value
        if end:
            jails.append(_jail(parameters))
            parameters = {}
    return tuple(jails)


def _json_value(value: object) -> Value:
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return tuple(str(item) for item in value)
    return "" if value in _EMPTY else str(value)


def _jail(parameters: dict[str, Value]) -> Jail:
    for key in _SHARED & parameters.keys():
        value = parameters[key]
        parameters[key] = _SHARING.get(value, value) if isinstance(value, str) else value
    try:
        jid = int(str(parameters["jid"]))
        name, path = str(parameters["name"]), str(parameters["path"])
    except KeyError as missing:
        raise ValueError(f"jls: a jail without {missing}") from None
    return Jail(
        jid=jid,
        name=name,
        path=path,
        hostname=_text(parameters.get("host.hostname")),
        dying=parameters.get("dying") in (True, "1", "true"),
        vnet=parameters.get("vnet") == "new",
        ip4=_text(parameters.get("ip4")),
        ip6=_text(parameters.get("ip6")),
        ip4_addresses=_list(parameters.get("ip4.addr")),
        ip6_addresses=_list(parameters.get("ip6.addr")),
        parameters=MappingProxyType(parameters),
    )


def _text(value: Value | None) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Value | None) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


_WORD = re.compile(
    r"(?P<key>[A-Za-z0-9_.]+)"
    r"(?:=(?P<value>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|/\"\"\}\"\"|[^\s\"']*))?"
    r"(?P<end>\n|[ ]|\Z)",
    re.DOTALL,
)


def _words(text: str) -> list[tuple[str, Value, bool]]:
    """`key=value`, `key` and `nokey`, with -q's quoting; the last of a line is marked."""
    found: list[tuple[str, Value, bool]] = []
    position = 0
    while position < len(text):
        word = _WORD.match(text, position)
        if word is None:
            raise ValueError(f"jls: cannot read {text[position : position + 40]!r}")
        position = word.end()
        key, value = word["key"], word["value"]
        found.append((*_named(key, value), word["end"] != " "))
    return found


def _named(key: str, value: str | None) -> tuple[str, Value]:
    if value is None:
        parent, dot, last = key.rpartition(".")
        return (f"{parent}{dot}{last[2:]}", False) if last.startswith("no") else (key, True)
    plain = _unquoted(value)
    if key in _ADDRESS_LISTS:
        return key, tuple(filter(None, plain.split(",")))
    return key, plain


def _unquoted(value: str) -> str:
    if value in _EMPTY:
        return ""
    if value[:1] not in ('"', "'"):
        return value
    return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
