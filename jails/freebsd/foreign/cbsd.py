"""CBSD: a row of the SQLite database var/db/local.sqlite of its work directory; unregistered ones in jails-rcconf.

Sources: cbsd/cbsd subr/env_register.subr (the table jails), tools/makejconf (the jail.conf it writes), cbsd.conf (the
directories of the work directory), share/jail.jconf (the columns), rc.d/{cbsdd,jails-astart} (astart=1 starts at boot).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing

from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import BASE, THICK, Evidence, ForeignJail

DATABASE = "var/db/local.sqlite"
_HOMES = ("usr/jails", "cbsd", "*/cbsd")
GLOBS = tuple(
    f"{home}/{name}" for home in _HOMES for name in (DATABASE, "jails-rcconf/rc.conf_*", "jails-system/*/rc.conf_*")
)
_MOUNTS = ("devfs", "nullfs", "fusefs", "fdescfs", "procfs", "linprocfs", "linsysfs", "tmpfs", "zfs")


def database_text(data: bytes) -> str:
    """The jails of a database, one JSON object a line in the order of their names. ValueError where it is none.

    Nothing is written: SQLite reads a copy in memory.
    """
    if not data.startswith(b"SQLite format 3\0"):
        raise ValueError("is no database of SQLite")
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(data)
            connection.row_factory = sqlite3.Row
            rows = connection.execute("SELECT * FROM jails WHERE jname IS NOT NULL ORDER BY jname").fetchall()
    except (sqlite3.Error, MemoryError) as error:
        raise ValueError(f"is no database of CBSD: {error}") from None
    texts = ({key: "" if row[key] is None else str(row[key]) for key in row.keys()} for row in rows)  # noqa: SIM118
    return "".join(json.dumps(row) + "\n" for row in texts)


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    found: dict[str, ForeignJail] = {}
    for path, match in words.matching(evidence.files, rf"(/.+)/{DATABASE}"):
        for row in _rows(evidence.files[path]):
            if row.get("emulator", "jail") in ("jail", "0", "") and row.get("jname"):
                found.setdefault(row["jname"], _jail(evidence, path, match[1], row, registered=True))
    for path, match in words.matching(evidence.files, r"(/.+)/(?:jails-rcconf|jails-system/[^/]+)/rc\.conf_([^/]+)"):
        row = {"jname": match[2], **words.variables(evidence.files[path])}
        if match[2] not in found and row.get("emulator", "jail") in ("jail", "0"):
            found[match[2]] = _jail(evidence, path, match[1], row, registered=False)
    return tuple(found.values())


def _rows(text: str) -> list[dict[str, str]]:
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append({str(key): str(value) for key, value in row.items()})
    return rows


def _jail(evidence: Evidence, path: str, home: str, row: Mapping[str, str], *, registered: bool) -> ForeignJail:
    name = row["jname"]

    def get(key: str) -> str:
        value = row.get(key, "").replace("%%workdir%%", home)
        return "" if value == "0" else value

    own_tree = get("baserw") == "1"
    data = get("data") or f"{home}/jails-data/{name}-data"
    root = data if own_tree else get("path") or f"{home}/jails/{name}"
    vnet = get("vnet") == "1"
    interface = get("interface") if get("interface") not in ("auto", "disable") else ""
    addresses = words.addresses(get("ip4_addr").replace(" ", ","), interface)
    autostart = get("astart") == "1"
    problems = []
    if not own_tree:
        problems.append("CBSD mounts the base and its own files over its tree before each start.")
    if vnet:
        problems.append("Its interfaces are made and joined to a bridge at each start.")
    if "DHCP" in get("ip4_addr").upper():
        problems.append("CBSD chooses its address at each start.")
    if not registered:
        problems.append("It is not registered with CBSD.")
    notes = ["CBSD writes its /etc/hosts and its limits at each start."]
    if get("interface") == "auto" and any("|" not in address for address in addresses):
        notes.append("CBSD puts its addresses on the interface of their network, the file does not.")
    return ForeignJail(
        manager="cbsd",
        name=name,
        running_name=name,
        config=path,
        root=root,
        kind=THICK if own_tree else BASE,
        release=get("ver") if get("ver") != "native" else "",
        hostname=get("host_hostname"),
        addresses=addresses,
        vnet=vnet,
        boot=autostart and registered and words.service_enabled(evidence, "cbsdd"),
        autostart=autostart,
        start=("cbsd", "jstart", "inter=0", f"jname={name}") if registered else (),
        stop=("cbsd", "jstop", "inter=0", f"jname={name}") if registered else (),
        autostart_off_argv=("cbsd", "jset", f"jname={name}", "astart=0") if registered else (),
        autostart_on_argv=("cbsd", "jset", f"jname={name}", "astart=1") if registered else (),
        files=(path,),
        dataset=words.dataset_at(evidence, data),
        parameters=_parameters(get, root, vnet, addresses),
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _parameters(get: Callable[[str], str], root: str, vnet: bool, addresses: tuple[str, ...]) -> words.Parameters:
    found: words.Parameters = {"path": (root,), "host.hostname": (get("host_hostname"),)}
    if vnet:
        found["vnet"] = ()
    else:
        words.set_addresses(found, addresses)
    for key in ("exec_prestart", "exec_start", "exec_poststart", "exec_prestop", "exec_stop", "exec_poststop"):
        if value := get(key):
            found[key.replace("_", ".", 1)] = (value,)
    found.setdefault("exec.start", ("/bin/sh /etc/rc",))
    found.setdefault("exec.stop", ("/bin/sh /etc/rc.shutdown",))
    found |= {"allow.socket_af": (), "allow.chflags": ()}
    if get("allow_raw_sockets") == "1":
        found["allow.raw_sockets"] = ()
    for key in ("sysvsem", "sysvshm", "sysvmsg"):
        if value := get(key):
            found[key] = (value,)
    found["mount.devfs"] = ()
    if value := get("devfs_ruleset"):
        found["devfs_ruleset"] = (value,)
    if get("allow_mount") == "1":
        found |= {"allow.mount": (), "enforce_statfs": ("1",)}
        for kind in _MOUNTS:
            if get(f"allow_{kind}") == "1":
                found[f"allow.mount.{kind}"] = ()
    if value := get("childrenmax"):
        found["children.max"] = (value,)
    if value := get("exec_consolelog"):
        found["exec.consolelog"] = (value,)
    found["persist"] = ()
    return found
