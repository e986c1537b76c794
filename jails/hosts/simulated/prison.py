"""The simulated kernel's jails: jail_set(2), jail_get(2), jail_remove(2) over the host's state.

State used here: ``state["jails"]`` is a list of dicts in order of jid with the keys ``jid``, ``name`` (the full
dotted name), ``parent`` (a jid, 0 for the host), ``path``, ``cpuset`` and ``set`` (only parameters that differ
from their default); a jail on its way out has ``dying`` (a Unix time, when it is gone).
``state["lastjid"]`` counts like the kernel's ``lastprid``.

Sources: sys/kern/kern_jail.c and lib/libjail/jail.c of releng/12.1 and releng/14.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from . import clock, daemons

State = dict[str, Any]
Prison = dict[str, Any]

MAXHOSTNAMELEN = 256
JAILSYS = ("disable", "new", "inherit")
UNUSED_UUID = "00000000-0000-0000-0000-000000000000"


class JailError(Exception):
    """What libjail leaves in jail_errmsg; ``errno`` is the symbol (``ENOENT``, ``EEXIST``, ...)."""

    def __init__(self, message: str, errno: str = "EINVAL") -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno


class Parameter(NamedTuple):
    """One jail parameter of the kernel: ``access`` is ``RW``, ``RDTUN`` (fixed at creation) or ``RD``."""

    name: str
    type: str  # int, str, bool, jailsys, ip4, ip6
    access: str
    default: Any


_COMMON = [
    ("devfs_ruleset", "int", "RW", 0),
    ("dying", "bool", "RD", False),
    ("enforce_statfs", "int", "RW", 2),
    ("host", "jailsys", "RW", "new"),
    ("ip4", "jailsys", "RDTUN", "disable"),
    ("ip6", "jailsys", "RDTUN", "disable"),
    ("jid", "int", "RDTUN", 0),
    ("name", "str", "RW", ""),
    ("osreldate", "int", "RDTUN", 0),
    ("osrelease", "str", "RDTUN", ""),
    ("parent", "int", "RD", 0),
    ("path", "str", "RDTUN", "/"),
    ("persist", "bool", "RW", False),
    ("securelevel", "int", "RW", -1),
    ("sysvmsg", "jailsys", "RW", "disable"),
    ("sysvsem", "jailsys", "RW", "disable"),
    ("sysvshm", "jailsys", "RW", "disable"),
    ("vnet", "jailsys", "RDTUN", "inherit"),
    ("children.cur", "int", "RD", 0),
    ("children.max", "int", "RW", 0),
    ("cpuset.id", "int", "RD", 0),
    ("host.domainname", "str", "RW", ""),
    ("host.hostid", "int", "RW", 0),
    ("host.hostname", "str", "RW", ""),
    ("host.hostuuid", "str", "RW", UNUSED_UUID),
    ("ip4.addr", "ip4", "RW", []),
    ("ip4.saddrsel", "bool", "RW", True),
    ("ip6.addr", "ip6", "RW", []),
    ("ip6.saddrsel", "bool", "RW", True),
]
_ALLOW = "chflags mlock mount quotas raw_sockets read_msgbuf reserved_ports set_hostname socket_af sysvipc"
_ALLOW_MOUNT = "devfs fdescfs nullfs procfs tmpfs zfs"
_ALLOWED_BY_DEFAULT = {"allow.set_hostname", "allow.reserved_ports", "allow.unprivileged_proc_debug", "allow.suser"}


def version(release: str) -> tuple[int, int]:
    """``"14.2-RELEASE"`` -> ``(14, 2)``; an unreadable release counts as 14.0."""
    match = re.match(r"(\d+)(?:\.(\d+))?", release)
    return (int(match[1]), int(match[2] or 0)) if match else (14, 0)


def parameters(release: str) -> Mapping[str, Parameter]:
    """The parameters a kernel of ``release`` knows (GENERIC with the usual file systems), in jls(8)'s order."""
    return _parameters(version(release)[0])


@cache
def _parameters(major: int) -> dict[str, Parameter]:
    rows = [Parameter(*row) for row in _COMMON]
    names = [f"allow.{name}" for name in _ALLOW.split()] + [f"allow.mount.{name}" for name in _ALLOW_MOUNT.split()]
    if major >= 13:
        names += ["allow.suser", "allow.unprivileged_proc_debug"]
    if major >= 14:
        names += ["allow.nfsd"]
        rows += [Parameter("zfs", "jailsys", "RW", "disable"), Parameter("zfs.mount_snapshot", "int", "RW", 0)]
    if major >= 15:
        names += ["allow.adjtime", "allow.extattr", "allow.routing", "allow.settime"]
        rows += [Parameter("env", "str", "RW", ""), Parameter("meta", "str", "RW", "")]
    rows += [Parameter(name, "bool", "RW", name in _ALLOWED_BY_DEFAULT) for name in names]
    rows.sort(key=lambda row: ("." in row.name, row.name))
    return {row.name: row for row in rows}


def lookup(name: str, release: str) -> tuple[Parameter, bool]:
    """The parameter called ``name``, and whether the name was its negation (``allow.nomount``)."""
    known = parameters(release)
    if name in known:
        return known[name], False
    head, dot, tail = name.rpartition(".")
    positive = f"{head}{dot}{tail[2:]}" if tail.startswith("no") else ""
    if positive in known and known[positive].type == "bool":
        return known[positive], True
    raise JailError(f"unknown parameter: {name}", "ENOENT")


def import_value(name: str, text: str | None, release: str) -> tuple[str, Any]:
    """libjail's jailparam_init and jailparam_import: ``("allow.mount", False)`` for ``allow.nomount``."""
    parameter, negated = lookup(name, release)
    if parameter.type == "bool":
        return parameter.name, _boolean(name, text) != negated
    if parameter.type == "jailsys":
        return parameter.name, _jailsys(name, text)
    if parameter.type == "int":
        return parameter.name, _integer(name, text)
    if parameter.type in ("ip4", "ip6"):
        return parameter.name, [_address(name, word, parameter.type) for word in (text or "").split(",") if word]
    return parameter.name, text or ""


def _boolean(name: str, text: str | None) -> bool:
    if text is None or text.lower() == "true":
        return True
    if text.lower() == "false":
        return False
    if re.fullmatch(r"\s*[+-]?\d*", text):
        return bool(int(text or 0))
    raise JailError(f'{name}: unknown boolean value "{text}"')


def _jailsys(name: str, text: str | None) -> str:
    if text is None:
        return "new"
    if text in JAILSYS:
        return text
    if re.fullmatch(r"[0-2]", text):
        return JAILSYS[int(text)]
    raise JailError(f'{name}: unknown jailsys value "{text}"')


def _integer(name: str, text: str | None) -> int:
    if text is None:
        raise JailError("jail_set: Invalid argument")
    if not re.fullmatch(r"\s*[+-]?(0[xX][0-9a-fA-F]+|\d+)", text):
        raise JailError(f'{name}: non-integer value "{text}"')
    return int(text, 16) if "x" in text.lower() else int(text)


def _address(name: str, text: str, family: str) -> str:
    from ipaddress import ip_address

    version_ = 4 if family == "ip4" else 6
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version_:
        raise JailError(f"{name}: not an IPv{version_} address: {text}")
    return str(address)


def reap(state: State) -> None:
    """Forget dying jails whose time has come. Needs a changing transaction to last; harmless in a reading one."""
    jails = state.setdefault("jails", [])
    now = clock.now()
    if any("dying" in prison and prison["dying"] <= now for prison in jails):
        jails[:] = [prison for prison in jails if prison.get("dying", now + 1) > now]


def all_prisons(state: State, *, within: int = 0, dying: bool = False) -> list[Prison]:
    """Jails below the jail ``within`` (0: the host), by jid."""
    reap(state)
    chosen = [prison for prison in state["jails"] if dying or "dying" not in prison]
    if within:
        below = {prison["jid"] for prison in descendants(state, within)}
        chosen = [prison for prison in chosen if prison["jid"] in below]
    return chosen


def descendants(state: State, jid: int) -> Iterator[Prison]:
    parents = {jid}
    for prison in sorted(state.get("jails", []), key=lambda row: row["name"].count(".")):
        if prison["parent"] in parents:
            parents.add(prison["jid"])
            yield prison


def by_jid(state: State, jid: int) -> Prison | None:
    return next((prison for prison in state.get("jails", []) if prison["jid"] == jid), None)


def get(state: State, which: str | int, *, dying: bool = False, within: int = 0) -> Prison:
    """The jail called ``which`` (a jid or a name as seen from ``within``), as jail_get(2) finds and refuses it."""
    jid = _strtoul(str(which))
    quoted = str(jid) if jid else f'"{which}"'
    prefix = ""
    if within and not jid and (outer := by_jid(state, within)):
        prefix = outer["name"] + "."
    found = [
        prison
        for prison in all_prisons(state, within=within, dying=True)
        if (prison["jid"] == jid if jid else prison["name"] == prefix + str(which))
    ]
    alive = [prison for prison in found if "dying" not in prison]
    if alive:
        return alive[0]
    if not found:
        raise JailError(f"jail {quoted} not found", "ENOENT")
    if not dying:
        raise JailError(f"jail {quoted} is dying", "ENOENT")
    return found[0]


def _strtoul(text: str) -> int:
    return int(text) if re.fullmatch(r"\d+", text) else 0


def visible_name(state: State, prison: Prison, within: int) -> str:
    """A jail's name as a process in the jail ``within`` sees it."""
    outer = by_jid(state, within) if within else None
    return str(prison["name"])[len(outer["name"]) + 1 :] if outer else str(prison["name"])


def children(state: State) -> dict[str, int]:
    """How many jails live below a jail, by its full name; 0 is left out."""
    count: dict[str, int] = {}
    for prison in state["jails"]:
        name = str(prison["name"])
        while "dying" not in prison and "." in name:
            name = name.rpartition(".")[0]
            count[name] = count.get(name, 0) + 1
    return count


def values(
    state: State, prison: Prison, release: str, *, within: int = 0, kids: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """All parameters of a jail with their present values; `kids` spares counting again for many jails."""
    given = prison["set"]
    result = {name: given.get(name, row.default) for name, row in parameters(release).items()}
    result |= {
        "jid": prison["jid"],
        "name": visible_name(state, prison, within),
        "host.hostname": hostname(state, prison),
        "parent": 0 if prison["parent"] == within else prison["parent"],
        "path": prison["path"],
        "dying": "dying" in prison,
        "children.cur": (children(state) if kids is None else kids).get(prison["name"], 0),
        "cpuset.id": prison["cpuset"],
        "osreldate": given.get("osreldate") or osreldate(state, release),
        "osrelease": given.get("osrelease") or release,
    }
    return result


def hostname(state: State, prison: Prison | None) -> str:
    """gethostname(3) in a jail (None: the host): its own name, empty if none was given, or that of whom it inherits."""
    while prison is not None:
        if prison["set"].get("host", "new") != "inherit":
            return str(prison["set"].get("host.hostname", ""))
        prison = by_jid(state, prison["parent"])
    return str(state["hostname"])


def osreldate(state: State, release: str) -> int:
    """kern.osreldate of the host."""
    stated = state.get("osreldate")
    if stated:
        return int(stated)
    major, minor = version(release)
    return 1201517 if (major, minor) == (12, 1) else major * 100000 + minor * 1000


def create(state: State, wanted: Mapping[str, Any], release: str, *, within: int = 0, attach: bool = False) -> Prison:
    """jail_set(2) with JAIL_CREATE. ``wanted`` holds imported values; ``path`` must already be absolute and exist."""
    reap(state)
    _check_values(wanted)
    if not wanted.get("persist") and not attach:
        raise JailError("new jail must persist or attach")
    if wanted.get("vnet") == "new" and ({"ip4", "ip4.addr", "ip6", "ip6.addr"} & set(wanted)):
        raise JailError("vnet jails cannot have IP address restrictions")
    jid, parent, last = _place(state, wanted, within)
    if jid == 0:
        jid = _next_jid(state)
    prison: Prison = {
        "jid": jid,
        "name": "",
        "parent": parent["jid"] if parent else 0,
        "path": wanted.get("path") or "/",
        "cpuset": _free_cpuset(state),
        "set": {},
    }
    prefix = parent["name"] + "." if parent else ""
    prison["name"] = prefix + (last or str(jid))
    if _digits(last) and last != str(jid):
        raise JailError("name cannot be numeric (unless it is the jid)")
    if parent:
        _inherit(prison, parent)
    _apply(state, prison, wanted, parent)
    if prison["set"].get("vnet") == "new":
        prison["set"] |= {"ip4": "inherit", "ip6": "inherit"}
    state["jails"].append(prison)
    state["jails"].sort(key=lambda row: row["jid"])
    return prison


def update(state: State, prison: Prison, wanted: Mapping[str, Any]) -> None:
    """jail_set(2) with JAIL_UPDATE on a jail that was found."""
    _check_values(wanted)
    if "vnet" in wanted:
        raise JailError("vnet cannot be changed after creation")
    for name in ("osrelease", "osreldate", "path"):
        if name in wanted:
            raise JailError(f"{name} cannot be changed after creation")
    for family in ("ip4", "ip6"):
        if not ({family, f"{family}.addr"} & set(wanted)):
            continue
        if prison["set"].get("vnet") == "new":
            raise JailError("vnet jails cannot have IP address restrictions")
        restricted = prison["set"].get(family, "disable") != "inherit"
        if (wanted.get(family, "new") != "inherit") != restricted:
            raise JailError(f"{family} cannot be changed after creation")
    _apply(state, prison, wanted, by_jid(state, prison["parent"]))
    if "name" in wanted:
        _rename(state, prison, str(wanted["name"]))


def remove(state: State, prison: Prison) -> list[int]:
    """jail_remove(2): the jail and those inside it are dead. Gives the jids, inner ones first."""
    doomed = [prison, *descendants(state, prison["jid"])][::-1]
    hold = float(state.get("dying") or 0)
    for jail in doomed:
        end = max(clock.now() + hold if hold else 0, daemons.lingering(state, jail["jid"]))
        if end and "dying" not in jail:
            jail["dying"] = end
            jail["set"].pop("persist", None)
    gone = {jail["jid"] for jail in doomed}
    state["jails"] = [jail for jail in state["jails"] if jail["jid"] not in gone or "dying" in jail]
    return [jail["jid"] for jail in doomed]


def _check_values(wanted: Mapping[str, Any]) -> None:
    if len(str(wanted.get("name", ""))) >= MAXHOSTNAMELEN:
        raise JailError("jail_set: File name too long", "ENAMETOOLONG")
    for name in ("host.hostname", "host.domainname"):
        if len(str(wanted.get(name, ""))) >= MAXHOSTNAMELEN:
            raise JailError("jail_set: File name too long", "ENAMETOOLONG")
    if not 0 <= int(wanted.get("enforce_statfs", 2)) <= 2:
        raise JailError("jail_set: Invalid argument")
    if not 0 <= int(wanted.get("devfs_ruleset", 0)) <= 65535:
        raise JailError("jail_set: Invalid argument")
    for name in ("ip4.addr", "ip6.addr"):
        addresses = wanted.get(name, [])
        if len(set(addresses)) != len(addresses) or {"0.0.0.0", "255.255.255.255", "::"} & set(addresses):  # noqa: S104
            raise JailError("jail_set: Invalid argument")


def _place(state: State, wanted: Mapping[str, Any], within: int) -> tuple[int, Prison | None, str]:
    """The jid asked for (0: any), the parent and the last part of the name; refuses what is taken."""
    name = str(wanted.get("name") or "")
    last = name.rpartition(".")[2]
    jid = int(wanted.get("jid") or 0)
    if jid == 0 and _digits(last):
        jid = int(last)
    if jid < 0:
        raise JailError("negative jid")
    if jid and by_jid(state, jid):
        raise JailError(f"jail {jid} already exists", "EEXIST")
    parent = by_jid(state, within) if within else None
    if "." in name:
        outer = name.rpartition(".")[0]
        full = (parent["name"] + "." if parent else "") + outer
        parent = next((p for p in state["jails"] if p["name"] == full and "dying" not in p), None)
        if parent is None:
            raise JailError(f'jail "{outer}" not found', "ENOENT")
    full = (parent["name"] + "." if parent else "") + last
    if last and any(p["name"] == full and "dying" not in p for p in state["jails"]):
        raise JailError(f'jail "{name}" already exists', "EEXIST")
    maker = by_jid(state, within) if within else None
    while maker:
        if sum(1 for _ in descendants(state, maker["jid"])) >= maker["set"].get("children.max", 0):
            raise JailError("prison limit exceeded", "EPERM")
        maker = by_jid(state, maker["parent"])
    return jid, parent, last


def _digits(text: str) -> bool:
    return bool(re.fullmatch(r"\d+", text))


def _next_jid(state: State) -> int:
    jid = int(state.get("lastjid", 0)) + 1
    taken = {prison["jid"] for prison in state["jails"]}
    while jid in taken:
        jid += 1
    state["lastjid"] = jid
    return jid


def _free_cpuset(state: State) -> int:
    taken = {prison["cpuset"] for prison in state["jails"]}
    number = 2
    while number in taken:
        number += 1
    return number


def _inherit(prison: Prison, parent: Prison) -> None:
    for name in ("securelevel", "devfs_ruleset"):
        if name in parent["set"]:
            prison["set"][name] = parent["set"][name]
    for name in _ALLOWED_BY_DEFAULT:
        if parent["set"].get(name) is False:
            prison["set"][name] = False


def _apply(state: State, prison: Prison, wanted: Mapping[str, Any], parent: Prison | None) -> None:
    if wanted.get("securelevel", -1) < (parent["set"].get("securelevel", -1) if parent else -1):
        raise JailError("jail_set: Operation not permitted", "EPERM")
    for family in ("ip4", "ip6"):
        if addresses := wanted.get(f"{family}.addr"):
            _check_addresses(state, prison, family, addresses, parent)
    given = dict(prison["set"])
    for name, value in wanted.items():
        if name in ("jid", "name", "path", "dying", "parent"):
            continue
        if name in ("ip4.addr", "ip6.addr"):
            from ipaddress import ip_address

            value = [*value[:1], *sorted(value[1:], key=lambda a: ip_address(a).packed)]
        if name == "children.max":
            value = max(0, value)
        given[name] = value
    for family in ("ip4", "ip6"):
        if f"{family}.addr" in wanted or given.get(family) == "new":
            given[family] = "disable"
    if given.get("allow.sysvipc"):
        given |= {name: "inherit" for name in ("sysvmsg", "sysvsem", "sysvshm") if name not in wanted}
    prison["set"] = given


def _check_addresses(state: State, prison: Prison, family: str, addresses: list[str], parent: Prison | None) -> None:
    restricted = parent is not None and parent["set"].get(family, "disable") != "inherit"
    if restricted and parent and not set(addresses) <= set(parent["set"].get(f"{family}.addr", [])):
        raise JailError("jail_set: Operation not permitted", "EPERM")
    siblings = [p for p in state["jails"] if "dying" not in p and p["jid"] != prison["jid"]]
    for other in siblings:
        if (parent and other["jid"] == parent["jid"]) or other["name"].startswith(prison["name"] + "."):
            continue
        theirs = other["set"].get(f"{family}.addr", [])
        if not theirs or len(theirs) == len(addresses) == 1:
            continue
        if set(theirs) & set(addresses):
            raise JailError(f"IPv{family[-1]} addresses clash", "EADDRINUSE")


def _rename(state: State, prison: Prison, name: str) -> None:
    if name == prison["name"] or not name:
        return
    if _digits(name.rpartition(".")[2]) and name.rpartition(".")[2] != str(prison["jid"]):
        raise JailError("name cannot be numeric (unless it is the jid)")
    if any(p["name"] == name and "dying" not in p for p in state["jails"]):
        raise JailError(f'jail "{name}" already exists', "EEXIST")
    old = prison["name"] + "."
    for kid in state["jails"]:
        if kid["name"].startswith(old):
            kid["name"] = f"{name}.{kid['name'][len(old) :]}"
    prison["name"] = name
