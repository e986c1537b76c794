"""Bastille: a jail.conf(5), a fstab(5) and a settings.conf for each jail.

Sources: BastilleBSD/bastille usr/local/share/bastille/{start,stop,create,list}.sh and usr/local/etc/rc.d/bastille (at
boot `bastille start --boot`, which leaves out a jail whose settings.conf says boot="off"); a recorded host.
"""

from __future__ import annotations

import re

from jails.freebsd import jailconf
from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import THICK, THIN, Evidence, ForeignJail

HOME = "/usr/local/bastille/jails"
_FILES = ("jail.conf", "settings.conf", "fstab", "rctl.conf", "cpuset.conf", "rdr.conf", "zfs.conf")
GLOBS = tuple(f"usr/local/bastille/jails/*/{name}" for name in _FILES)
_DOES = {
    "rctl.conf": "Bastille sets the limits of {path} after each start.",
    "cpuset.conf": "Bastille binds it to the CPUs of {path} after each start.",
    "rdr.conf": "Bastille redirects the ports of {path} to it after each start.",
    "zfs.conf": "Bastille sets the mount points of the datasets of {path} before each start.",
}


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    return tuple(
        _jail(evidence, path, match[1]) for path, match in words.matching(evidence.files, rf"{HOME}/([^/]+)/jail\.conf")
    )


def _jail(evidence: Evidence, path: str, name: str) -> ForeignJail:
    home = f"{HOME}/{name}"
    conf = jailconf.read(evidence.files[path], filename=path)
    jail = conf.jail(name)
    parameters = {key: tuple(values) for key, values in jail.parameters if key != "name"} if jail else {}
    settings = evidence.files.get(f"{home}/settings.conf", "")
    fstab = evidence.files.get(f"{home}/fstab", "")
    root = (jail.last("path") if jail else "") or f"{home}/root"
    found = [*parameters.get("ip4.addr", ()), *parameters.get("ip6.addr", ())]
    dataset = words.dataset_at(evidence, root)
    thin = f"{root}/.bastille" in fstab or bool(evidence.origins.get(dataset))
    autostart = words.variables(settings).get("boot", "on") != "off"
    if re.search(r"^\s*boot=", settings, re.MULTILINE):
        switched_off = words.replaced(settings, r"^\s*boot=(.*)$", '"off"')
    else:
        ended = settings if not settings or settings.endswith("\n") else f"{settings}\n"
        switched_off = f'{ended}boot="off"\n'
    problems = tuple(str(error) for error in conf.errors)
    if not problems and jail is None:
        problems = (f"{path}: has no jail {name}",)
    does = [(f"{home}/{file}", text) for file, text in _DOES.items()]
    return ForeignJail(
        manager="bastille",
        name=name,
        running_name=name,
        config=path,
        root=root,
        kind=THIN if thin else THICK,
        release=words.release_in(fstab) or words.release_in(jail.last("osrelease") if jail else ""),
        hostname=jail.last("host.hostname") if jail else "",
        addresses=tuple(address for address in found if words.plain(address)),
        vnet="vnet" in parameters,
        boot=autostart and words.service_enabled(evidence, "bastille"),
        autostart=autostart,
        start=("bastille", "start", name),
        stop=("bastille", "stop", name),
        autostart_off=words.edited(evidence.files, f"{home}/settings.conf", switched_off) if autostart else (),
        files=tuple(f"{home}/{file}" for file in _FILES if f"{home}/{file}" in evidence.files),
        dataset=dataset,
        parameters=parameters,
        notes=tuple(text.format(path=each) for each, text in does if evidence.files.get(each, "").strip()),
        problems=problems,
    )
