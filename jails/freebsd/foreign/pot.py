"""pot: POT/jails/NAME with m (the tree) and conf/{pot.conf,fscomp.conf}.

Sources: bsdpot/pot share/pot/start.sh (the parameters it passes to jail(8)), share/pot/common.sh (attributes and their
defaults, fscomp.conf and how it is mounted), share/pot/create.sh, etc/rc.d/pot, etc/pot/pot.default.conf.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import BASE, THICK, Evidence, FileEdit, ForeignJail

_CONF = ("conf/pot.conf", "conf/fscomp.conf")
SETTINGS = ("/usr/local/etc/pot/pot.default.conf", "/usr/local/etc/pot/pot.conf")
GLOBS = (
    *(f"{above}pot/jails/*/{name}" for above in ("", "*/") for name in _CONF),
    *(path[1:] for path in SETTINGS),
)
# attribute → (parameter of jail(8), what it is), as pot passes them.
_SWITCHES = {
    "mount": "allow.mount",
    "fdescfs": "mount.fdescfs",
    "linprocfs": "allow.mount.linprocfs",
    "nullfs": "allow.mount.nullfs",
    "procfs": "mount.procfs",
    "tmpfs": "allow.mount.tmpfs",
    "zfs": "allow.mount.zfs",
    "raw_sockets": "allow.raw_sockets",
    "mlock": "allow.mlock",
}
_VALUES = {
    "enforce_statfs": "enforce_statfs",
    "children": "children.max",
    "devfs_ruleset": "devfs_ruleset",
    "exec_stop": "exec.stop",
    "stop_timeout": "stop.timeout",
}


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    found = words.matching(evidence.files, r"((?:/[^/]+)?/pot)/jails/([^/]+)/conf/pot\.conf")
    return tuple(_jail(evidence, path, match[1], match[2]) for path, match in found)


def _values(text: str) -> dict[str, list[str]]:
    """`name=value` lines; a name can come more than once (pot.env, pot.hosts)."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found.setdefault(name.strip(), []).append(value.strip().strip('"'))
    return found


def _jail(evidence: Evidence, path: str, home: str, name: str) -> ForeignJail:
    text = evidence.files[path]
    values = _values(text)

    def get(key: str) -> str:
        return values.get(key, [""])[-1]

    settings = words.variables("\n".join(evidence.files.get(each, "") for each in SETTINGS))
    directory = f"{home}/jails/{name}"
    root = f"{directory}/m"
    network = get("network_type") or "inherit"
    interface = settings.get("POT_EXTIF", "") if network == "alias" else ""
    addresses = words.addresses(get("ip").replace(" ", ","), interface)
    autostart = any(words.is_true(get(f"pot.attr.{key}")) for key in ("start-at-boot", "early-start-at-boot"))
    fstab, problems = _fstab(evidence, directory, values)
    if network.endswith("-bridge"):
        problems.append(f"Its interface is made and joined to pot's bridge at each start ({network}).")
    if get("pot.export.ports"):
        problems.append("Its ports are redirected to it at each start.")
    if words.is_true(get("pot.attr.no-rc-script")):
        problems.append("pot writes the script that runs in it at each start.")
    off = re.sub(r"^(pot\.attr\.(?:early-)?start-at-boot=).*$", r"\1NO", text, flags=re.MULTILINE)
    notes = ["pot copies the host's resolv.conf into it and writes its /etc/hosts at each start."]
    if get("pot.rss.memory") or get("pot.rss.cpus"):
        notes.append("pot limits its memory or CPUs after each start.")
    if get("pot.depend"):
        notes.append(f"pot starts {get('pot.depend')} before it.")
    if values.get("pot.env"):
        notes.append("pot passes environment variables to what it starts in it.")
    return ForeignJail(
        manager="pot",
        name=name,
        running_name=name,
        config=path,
        root=root,
        kind=BASE if get("pot.type") == "multi" else THICK,
        release=words.release_in(get("osrelease")),
        hostname=get("host.hostname"),
        addresses=addresses,
        vnet=get("vnet") == "true",
        boot=autostart and words.service_enabled(evidence, "pot", "pot_early"),
        autostart=autostart,
        start=("pot", "start", name),
        stop=("pot", "stop", name),
        autostart_off=(FileEdit(path, text, off),) if autostart else (),
        files=tuple(f"{directory}/{each}" for each in _CONF if f"{directory}/{each}" in evidence.files),
        dataset=words.dataset_at(evidence, root) or words.dataset_at(evidence, directory),
        parameters=_parameters(root, values, network, get("pot.stack") or "ipv4", addresses),
        fstab=fstab,
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _fstab(evidence: Evidence, directory: str, values: Mapping[str, list[str]]) -> tuple[str, list[str]]:
    """What pot mounts before a start, as lines of fstab(5)."""
    lines, problems = [], []
    for line in evidence.files.get(f"{directory}/conf/fscomp.conf", "").splitlines():
        source, _, rest = line.strip().partition(" ")
        point, _, options = rest.partition(" ")
        if not source:
            continue
        where = f"{directory}/m{point}".rstrip("/")
        if options == "zfs-remount":
            problems.append(f"pot moves the mount point of {source} into its tree at each start.")
            continue
        device = source if source.startswith("/") else evidence.datasets.get(source, "")
        if not device:
            problems.append(f"conf/fscomp.conf: {source} is mounted nowhere")
            continue
        lines.append(f"{device} {where} nullfs {options or 'rw'} 0 0\n")
    if not words.is_true(values.get("pot.attr.no-tmpfs", ["NO"])[-1]):
        lines.append(f"tmpfs {directory}/m/tmp tmpfs rw 0 0\n")
    return "".join(lines), problems


def _parameters(
    root: str, values: Mapping[str, list[str]], network: str, stack: str, addresses: tuple[str, ...]
) -> words.Parameters:
    def get(key: str, default: str = "") -> str:
        return values.get(key, [default])[-1]

    found: words.Parameters = {"path": (root,), "host.hostname": (get("host.hostname"),)}
    if get("osrelease"):
        found["osrelease"] = (get("osrelease"),)
    if network == "alias":
        words.set_addresses(found, addresses)
    elif network == "inherit":
        for version, wanted in (("ip4", ("dual", "ipv4")), ("ip6", ("dual", "ipv6"))):
            if stack in wanted:
                found[version] = ("inherit",)
    else:
        found["vnet"] = ()
    found["allow.set_hostname"] = ("false",)
    found |= {"allow.raw_sockets": (), "allow.socket_af": (), "allow.chflags": ()}
    for attribute, parameter in _SWITCHES.items():
        if words.is_true(get(f"pot.attr.{attribute}")):
            found[parameter] = ()
    for attribute in ("sysvshm", "sysvsem", "sysvmsg"):
        found[attribute] = (get(f"pot.attr.{attribute}") or "new",)
    for attribute, parameter in _VALUES.items():
        if value := get(f"pot.attr.{attribute}"):
            found[parameter] = (value,)
    found |= {"mount.devfs": (), "exec.clean": (), "exec.start": (get("pot.cmd") or "sh /etc/rc",)}
    if get("pot.attr.persistent", "YES") != "NO":
        found["persist"] = ()
    return found
