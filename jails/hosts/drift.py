"""Drift: where a jail is not, on its host, what the panel wants of it. Compares facts, and changes nothing.

Three columns by parameter: what is wanted, what the files say (`configured`), and what the kernel says while the jail
runs (`running`, for what jls(8) tells). Each is in one spelling, whatever the file's or jls's is: `allow.nomount`,
`allow.mount = 0` and jls's False are ("false",), `em0|192.0.2.5` and `em0|192.0.2.5/32` are the same address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jails.freebsd import jailconf, names, parameters, rcconf, rctl
from jails.freebsd.jailconf.write import Value
from jails.freebsd.parameters import Change, Kind
from jails.hosts.facts import ConfiguredJail, HostFacts, Missing, RunningJail, plain_address

Values = tuple[str, ...] | None
"""Of one parameter; () where it is given without a value, None where it is not given."""

BOOT, FILE, TREE = "boot", "file", "tree"
"""Not of jail.conf(5): whether it starts at boot, its definition as a whole, and its directory."""
OWN = (FILE, TREE, BOOT)
RULE = "rctl."
"""Before the name of a resource: a limit that is no parameter either, but a command of the file and a rule in force."""
ON: Values = ("true",)
OFF: Values = ("false",)
REFUSED = "refused"
"""As the configured value of FILE: it is there, and jail(8) does not take what it says."""
MOST = 200
"""Differences of one jail that are told; with more, the file is another one altogether."""
LONGEST = 2000
"""Characters of a value that are told."""

# By the name of the block; the kernel's own; or, of `interface`, said by the addresses.
_NOT_COMPARED = frozenset({"name", "jid", "interface", "dying", "parent", "children.cur", "cpuset.id", *OWN})
_DEFAULTS: Mapping[str, Values] = {
    "children.max": ("0",),
    "enforce_statfs": ("2",),
    "securelevel": ("-1",),
    "host.hostid": ("0",),
    "exec.timeout": ("0",),
    "exec.fib": ("0",),
    "stop.timeout": ("10",),
    "zfs.mount_snapshot": ("0",),
    "host": ("new",),
    "vnet": ("inherit",),
    "ip4": ("disable",),
    "ip6": ("disable",),
    "sysvmsg": ("disable",),
    "sysvsem": ("disable",),
    "sysvshm": ("disable",),
    "linux": ("inherit",),
}
"""What holds where nobody says anything, as far as it is the same on every host."""
_LOOKED_AT = frozenset(
    {"persist", "children.max", "enforce_statfs", "securelevel", "vnet", "ip4", "ip6", "ip4.addr", "ip6.addr"}
)
"""Of a running jail, also where neither the panel nor the file says anything; and what it is allowed."""
_SYSVIPC = ("sysvmsg", "sysvsem", "sysvshm")


@dataclass(frozen=True)
class Wanted:
    """What the panel wants of one jail.

    file: where it is to be defined; "" where that is not the panel's to say. boot: None likewise. path: its root, by
    which a running jail is known to be this one; "" where only the kernel knows it. tree: its directory, "" where it is
    not looked for. limited: whether its limits of rctl(8) are the panel's to say, so that the commands of its file that
    set them are told as such.
    """

    name: str
    file: str
    parameters: Mapping[str, Values] = field(hash=False)
    boot: bool | None = None
    path: str = ""
    tree: str = ""
    limited: bool = False

    @property
    def normal(self) -> dict[str, Values]:
        """The parameters in one spelling."""
        return normal(self.parameters.items(), limits_of=self.limits_of)

    @property
    def limits_of(self) -> str:
        return self.name if self.limited else ""


@dataclass(frozen=True)
class Difference:
    """One parameter in three columns. `running` is None as well while the jail does not run, or jls cannot tell.

    in_file, in_kernel: which of the two is not as wanted; neither where there is no file to compare with.
    """

    parameter: str
    wanted: Values
    configured: Values
    running: Values
    in_file: bool = True
    in_kernel: bool = False

    def columns(self) -> dict[str, Any]:
        """As JSON values, for rows and the log; what is endless is cut."""
        return {
            "wanted": _cut(self.wanted),
            "configured": _cut(self.configured),
            "running": _cut(self.running),
        }


class Comparison:
    """One host's facts, looked at jail by jail."""

    def __init__(self, facts: HostFacts) -> None:
        """Raises Missing where jails or files could not be read: then nothing can be compared."""
        facts.require("jails", "files", "names")
        self.facts = facts

    def differences(self, wanted: Wanted) -> tuple[Difference, ...]:
        """What differs, the most important first."""
        live = self._live(wanted)
        configured = self.configured(wanted)
        found = [*self._own(wanted, configured)]
        want = wanted.normal
        given = self._given(wanted, configured)
        run = running(live) | self._rules(wanted, {*want, *(given or ())}) if live is not None else {}
        found += _parameters(want, given, run, self._host)
        return tuple(found[:MOST])

    def configured(self, wanted: Wanted) -> ConfiguredJail | None:
        """What the files define it as, where jail(8) takes it."""
        found = self.facts.configured_jail(wanted.name)
        return found if found is not None and not found.failed else None

    def default(self, name: str) -> Values:
        """What holds on this host where nobody says anything; None where that is not known."""
        return self._host.get(name, default(name))

    def _given(self, wanted: Wanted, configured: ConfiguredJail | None) -> dict[str, Values] | None:
        if configured is None or not wanted.file:
            return None
        return normal(configured.parameters, limits_of=wanted.limits_of)

    def _rules(self, wanted: Wanted, mentioned: Iterable[str]) -> dict[str, Values]:
        """What rctl(8) holds a running jail to; () for what somebody says and is not in force."""
        found = self.facts.limits_in_force(wanted.name) if wanted.limited else None
        if found is None:
            return {}
        none: dict[str, Values] = {name: () for name in mentioned if name.startswith(RULE)}
        return none | {f"{RULE}{rctl.RESOURCES[limit]}": (str(amount),) for limit, amount in found.items()}

    def _live(self, wanted: Wanted) -> RunningJail | None:
        live = self.facts.jail(wanted.name)
        if live is None or live.dying or (wanted.path and live.path != wanted.path):
            return None
        return live

    def _own(self, wanted: Wanted, configured: ConfiguredJail | None) -> Iterable[Difference]:
        if wanted.file and (file := self._file(wanted, configured)) != (wanted.file,):
            yield Difference(FILE, (wanted.file,), file, None)
        folder, _, last = wanted.tree.rpartition("/")
        if wanted.tree and folder in self.facts.names and not self.facts.exists(folder, last):
            yield Difference(TREE, (wanted.tree,), None, None)
        boots = self._boots
        if wanted.boot is not None and boots is not None and wanted.boot != (wanted.name in boots):
            yield Difference(BOOT, flag(wanted.boot), flag(not wanted.boot), None)

    def _file(self, wanted: Wanted, configured: ConfiguredJail | None) -> Values:
        if named := self._named_files.get(f"jail_{names.rc_variable_part(wanted.name)}_conf"):
            return (named,)
        if configured is not None:
            return (configured.file,)
        is_refused = self.facts.configured_jail(wanted.name) is not None or self._is_broken(wanted.file)
        return (REFUSED,) if is_refused else None

    def _is_broken(self, file: str) -> bool:
        """Whether jail(8) could not read it at all."""
        if file not in self._broken:
            text = self.facts.files.get(file)
            faulty = text is not None and jailconf.read(text, filename=file).rc != 0
            self._broken[file] = faulty or file in self.facts.unreadable
        return self._broken[file]

    @cached_property
    def _broken(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _named_files(self) -> Mapping[str, str]:
        """Of rc.conf: what names another file for a jail, which rc.d/jail then takes."""
        try:
            conf = rcconf.parse(self.facts.rc_conf)
        except Missing:
            return {}
        return {
            name: value
            for name, value in conf.values.items()
            if name.startswith("jail_") and name.endswith("_conf") and value
        }

    @cached_property
    def _boots(self) -> frozenset[str] | None:
        """None where only running rc.conf would tell."""
        try:
            return frozenset(self.facts.boot_state().boots_today)
        except (ValueError, Missing):
            return None

    @cached_property
    def _host(self) -> dict[str, Values]:
        """Defaults that are the host's. Without a known securelevel none is taken for granted."""
        sysctls = self.facts.sysctls
        statfs, level = sysctls.get("security.jail.enforce_statfs", ""), sysctls.get("kern.securelevel", "")
        return {"enforce_statfs": (statfs or "2",), "securelevel": (level,) if level else None}


def _parameters(
    want: Mapping[str, Values],
    given: Mapping[str, Values] | None,
    run: Mapping[str, Values],
    host: Mapping[str, Values],
) -> Iterable[Difference]:
    mentioned = [*want, *(name for name in given or () if name not in want)]
    mentioned += [name for name in run if name not in mentioned and _is_looked_at(name)]
    for name in mentioned:
        one, other, third = want.get(name), (given or {}).get(name), run.get(name)
        if third is not None and not _can_be_told(name, want, run):
            third = None
        in_file = given is not None and not same(name, one, other)
        in_kernel = third is not None and not runs_so(name, one, third, host)
        if in_file or in_kernel:
            yield Difference(name, one, other, third, in_file, in_kernel)


def _is_looked_at(name: str) -> bool:
    if name.startswith(RULE):
        return True
    return name in _LOOKED_AT or (name.startswith("allow.") and name in parameters.TABLE)


def _can_be_told(name: str, want: Mapping[str, Values], run: Mapping[str, Values]) -> bool:
    """Whether what jls(8) shows of it can be held against what is wanted."""
    if name.startswith(RULE):
        return True
    if name == "path":
        return False  # the kernel has followed symbolic links; that of another jail is known before
    if name in _SYSVIPC and run.get("allow.sysvipc") == ON:
        return False  # it gives all three
    if name.startswith(("ip4", "ip6")) and run.get("vnet") == ("new",):
        return False
    # Of these there is no default that is the same on every host and release.
    return name in want or default(name) is not None or name.endswith(".addr")


# One spelling


def normal(given: Iterable[tuple[str, Sequence[str] | None]], *, limits_of: str = "") -> dict[str, Values]:
    """Parameters as a file or the panel has them, each once and in one spelling; without those that are absent.

    limits_of: the jail whose limits, set by commands of rctl(8), are told as `rctl.memoryuse` and so on; "" for none.
    """
    found: dict[str, Values] = {}
    interface = ""
    for name, values in given:
        positive, value = spelled(name, values)
        if name == "interface" and values:
            interface = values[-1]
        if positive in _NOT_COMPARED or not names_a_parameter(positive):
            continue
        found.pop(positive, None)
        if value is not None:
            found[positive] = value
    for version in (4, 6):
        if addresses := found.get(f"ip{version}.addr"):
            found[f"ip{version}.addr"] = tuple(sorted({_on(interface, one) for one in addresses}))
        else:
            found.pop(f"ip{version}.addr", None)
        # Which of the two it is follows from whether there are addresses.
        if found.get(f"ip{version}") in (("new",), ("disable",)):
            del found[f"ip{version}"]
    return _with_limits(found, limits_of) if limits_of else found


def _with_limits(found: dict[str, Values], jail: str) -> dict[str, Values]:
    limits: dict[str, int] = {}
    left: dict[str, list[str]] = {"exec.prestart": [], "exec.poststop": []}
    for command in found.get("exec.prestart") or ():
        said = rctl.limits_of_prestart(jail, command)
        limits |= said or {}
        left["exec.prestart"] += [] if said else [command]
    left["exec.poststop"] = [one for one in found.get("exec.poststop") or () if not rctl.is_poststop(jail, one)]
    others = {name: values for name, values in found.items() if name not in left}
    others |= {name: tuple(values) for name, values in left.items() if values}
    return others | {f"{RULE}{rctl.RESOURCES[limit]}": (str(amount),) for limit, amount in limits.items()}


def limits_of(values: Mapping[str, Values]) -> dict[str, int | None]:
    """Of parameters in one spelling: the limits of rctl(8), by the names of Jail.limits."""
    found = {limit: values.get(f"{RULE}{resource}") for limit, resource in rctl.RESOURCES.items()}
    return {limit: int(amount[0]) if amount else None for limit, amount in found.items()}


def running(live: RunningJail) -> dict[str, Values]:
    """What jls(8) tells of a running jail."""
    found: list[tuple[str, Sequence[str]]] = []
    for name, value in live.parameters.items():
        if isinstance(value, bool):
            found.append((name, ("true" if value else "false",)))
        elif isinstance(value, tuple):
            found.append((name, value))
        else:
            found.append((name, (value,)))
    told = normal(found)
    return {"ip4.addr": (), "ip6.addr": (), "ip4": ("disable",), "ip6": ("disable",)} | told


def names_a_parameter(name: str) -> bool:
    return 0 < len(name) <= 255


def spelled(name: str, values: Sequence[str] | None) -> tuple[str, Values]:
    """A parameter's positive name and its values in one spelling."""
    parameter = parameters.find(name)
    if parameter is None or values is None:
        return name, None if values is None else tuple(values)
    if parameter.kind is Kind.BOOLEAN:
        negated = name != parameter.name
        return parameter.name, flag(_is_true(values) != negated)
    if parameter.kind is Kind.INTEGER:
        return name, tuple(_number(text) for text in values)
    if parameter.kind is Kind.CHOICE:
        return name, tuple(values) or ("new",)
    if parameter.kind in (Kind.IP4, Kind.IP6):
        return name, tuple(_address(text) for text in values)
    return name, tuple(values)


def flag(value: bool) -> Values:
    return ON if value else OFF


def _is_true(values: Sequence[str]) -> bool:
    """As jail(8) reads it: nothing, `true`, or a number that is not 0."""
    text = values[-1].strip().lower() if values else "true"
    return text == "true" or (re.fullmatch(r"[+-]?[0-9]+", text) is not None and int(text[:20]) != 0)


def _number(text: str) -> str:
    return str(int(text)) if re.fullmatch(r"[+-]?[0-9]{1,20}", text.strip()) else text


def _address(text: str) -> str:
    """`em0|192.0.2.5/24 vhid 1`, the address in its shortest form, without the prefix that it has by default."""
    interface, bar, rest = text.strip().rpartition("|")
    words = rest.split()
    host, slash, mask = (words[0] if words else "").partition("/")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
        prefix = ipaddress.ip_interface(f"{address}/{mask}").network.prefixlen if slash else address.max_prefixlen
    except ValueError:
        return text
    shown = str(address) if prefix == address.max_prefixlen else f"{address}/{prefix}"
    return " ".join([f"{interface}{bar}{shown}", *words[1:]])


def _on(interface: str, address: str) -> str:
    return address if "|" in address or not interface else f"{interface}|{address}"


# Equal


def default(name: str) -> Values:
    """What holds where nobody says anything; None where that is not known."""
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    parameter = parameters.find(name)
    if parameter is None or parameter.kind is not Kind.BOOLEAN:
        return None
    return flag(parameter.default == "true")


def same(name: str, one: Values, other: Values) -> bool:
    """Whether two spellings in files, or none, mean the same."""
    if name == FILE:
        return one == other
    one, other = (default(name) if value is None else value for value in (one, other))
    return one == other


def runs_so(name: str, wanted: Values, live: Values, host: Mapping[str, Values] | None = None) -> bool:
    """Whether a running jail is as wanted: of addresses the kernel has neither interface nor prefix."""
    if name in ("ip4.addr", "ip6.addr"):
        return {plain_address(one) for one in wanted or ()} == {plain_address(one) for one in live or ()}
    if name == "securelevel":
        return _level_is_so(wanted, live, (host or {}).get(name, default(name)))
    if name.startswith(RULE):
        return (live or None) == wanted
    if wanted is None:
        wanted = (host or {}).get(name, default(name))
    return live == wanted


def _level_is_so(wanted: Values, live: Values, host: Values) -> bool:
    """No jail is below its host; whether it is exactly there cannot be told where the host's level is not known."""
    if wanted is None and host is None:
        return True
    levels = [int(one[0]) for one in (wanted, host) if one and re.fullmatch(r"-?[0-9]+", one[0])]
    return not levels or live == (str(max(levels)),)


# For people and files


def needs_restart(name: str) -> bool:
    """Whether a running jail has to be stopped and started for a new value; parameters.change says why."""
    return name not in OWN and not name.startswith(RULE) and parameters.change(name) is Change.RESTART


def for_file(name: str, values: Values) -> Value:
    """As jailconf.render_jail and Document.set take it. `values` must not be None."""
    parameter = parameters.find(name)
    if parameter is not None and parameter.kind is Kind.BOOLEAN:
        return values == ON
    return values or None


def shown(values: Values | Sequence[str]) -> str:
    """A column for people."""
    if values is None:
        return "nothing"
    return ", ".join(values) or "no value"


def words(difference: Difference) -> str:
    """A whole sentence: what is wanted, what is, and that it runs with yet another value."""
    name, wanted, configured = difference.parameter, difference.wanted, difference.configured
    if name == FILE:
        return _file_words(shown(wanted), configured)
    if name == TREE:
        return f"tree: {shown(wanted)} is gone."
    if name == BOOT:
        if wanted == ON:
            return "boot: the panel wants it to start when its host boots, and it does not."
        return "boot: the panel does not want it to start when its host boots, and it does."
    parts = [f"the panel wants {shown(wanted) if wanted is not None else _usual(name)}"]
    if not difference.in_file:
        parts.append("and so says the file" if wanted is not None else "the file says nothing of it")
    else:
        parts.append(f"the file says {shown(configured)}" if configured is not None else "the file says nothing of it")
    if difference.running is not None:
        parts.append(f"it runs with {_run_shown(difference.running)}")
    return f"{name}: {', '.join(parts)}."


def _usual(name: str) -> str:
    usual = default(name)
    return f"{shown(usual)}, as by default" if usual is not None else "none"


def _run_shown(values: Values) -> str:
    return shown(values) if values else "none"


def _file_words(file: str, configured: Values) -> str:
    if configured is None:
        return f"file: {file} does not define it any more."
    if configured == (REFUSED,):
        return f"file: jail(8) does not take what {file} says of it."
    return f"file: {shown(configured)} is taken in place of {file}."


def _cut(values: Values) -> list[str] | None:
    if values is None:
        return None
    found, left = [], LONGEST
    for value in values[:MOST]:
        found.append(value if len(value) <= left else f"{value[: max(0, left - 1)]}…")
        left -= len(value)
        if left <= 0:
            break
    return found
