"""iocage (a JSON file for each jail) and iocell (a fork of its older form, with a UCL file).

Sources: iocage/iocage iocage_lib/ioc_json.py (default properties; defaults.json stands under them), ioc_start.py (the
parameters it passes to jail(8), the name `ioc-NAME` with dots as `_`), ioc_list.py, rc.d/iocage; for the other one
bartekrutkowski/iocell lib/ioc-globals, lib/ioc-rc, lib/ioc-common, rc.d/iocell (the jail is called ioc-UUID).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import BASE, THICK, THIN, Evidence, FileEdit, ForeignJail

# One level above: `/iocage`, or below a pool's mount point; FreeNAS and TrueNAS mount pools at /mnt/POOL.
GLOBS = tuple(
    f"{above}{name}"
    for above in ("", "*/", "mnt/*/")
    for name in (
        "iocage/defaults.json",
        "iocage/jails/*/config.json",
        "iocage/jails/*/fstab",
        "iocell/jails/*/config",
        "iocell/jails/*/fstab",
    )
)
DEFAULTS: Mapping[str, str] = {
    "ip4": "new",
    "ip6": "new",
    "ip4_saddrsel": "1",
    "ip6_saddrsel": "1",
    "devfs_ruleset": "4",
    "exec_start": "/bin/sh /etc/rc",
    "exec_stop": "/bin/sh /etc/rc.shutdown",
    "exec_clean": "1",
    "exec_timeout": "60",
    "stop_timeout": "30",
    "mount_devfs": "1",
    "mount_fdescfs": "1",
    "enforce_statfs": "2",
    "children_max": "0",
    "securelevel": "2",
    "sysvmsg": "new",
    "sysvsem": "new",
    "sysvshm": "new",
    "allow_set_hostname": "1",
    "host_domainname": "none",
    "exec_fib": "0",
    "interfaces": "vnet0:bridge0",
}
_ALLOW = (
    "set_hostname", "raw_sockets", "sysvipc", "quotas", "socket_af", "chflags", "mlock", "vmm",
    "mount", "mount_devfs", "mount_fdescfs", "mount_fusefs", "mount_nullfs", "mount_procfs", "mount_linprocfs",
    "mount_tmpfs", "mount_zfs",
)  # fmt: skip
_HOOKS = ("exec_prestart", "exec_created", "exec_poststart", "exec_prestop", "exec_poststop")
_LIMITS = (
    "cputime", "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc", "openfiles",
    "vmemoryuse", "pseudoterminals", "swapuse", "nthr", "msgqqueued", "msgqsize", "nmsgq", "nsem", "nsemop", "nshm",
    "shmsize", "wallclock", "pcpu", "readbps", "writebps", "readiops", "writeiops",
)  # fmt: skip
_UCL = re.compile(r'^\s*"?([A-Za-z_]\w*)"?\s*[=:]\s*"?(.*?)"?\s*[;,]?\s*$', re.MULTILINE)


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    found = []
    for path, match in words.matching(evidence.files, r"((?:/[^/]+){0,2}/iocage)/jails/([^/]+)/config\.json"):
        found.append(_iocage(evidence, path, match[1], match[2]))
    for path, match in words.matching(evidence.files, r"((?:/[^/]+){0,2}/iocell)/jails/([^/]+)/config"):
        found.append(_iocell(evidence, path, match[1], match[2]))
    return tuple(found)


def _iocage(evidence: Evidence, path: str, home: str, name: str) -> ForeignJail:
    values, problem = _json(evidence.files[path])
    defaults, _ = _json(evidence.files.get(f"{home}/defaults.json", "{}"))
    properties = {**DEFAULTS, **defaults, **values}
    jail = _Jail(evidence, path, home, name, properties)
    autostart = words.is_true(properties.get("boot", 0))
    off = words.replaced(evidence.files[path], r'"boot"\s*:\s*("[^"]*"|[\w.]+)', '"off"' if _quoted(values) else "0")
    if autostart and off == evidence.files[path]:
        # It is the default of all jails: this one's own file has to say otherwise.
        off = off.replace("{", '{"boot": 0,' if values else '{"boot": 0', 1)
    return ForeignJail(
        manager="iocage",
        name=name,
        running_name=f"ioc-{name.replace('.', '_')}",
        config=path,
        boot=autostart and words.service_enabled(evidence, "iocage"),
        autostart=autostart,
        start=("iocage", "start", name),
        stop=("iocage", "stop", name),
        autostart_off=words.edited(evidence.files, path, off) if autostart else (),
        problems=(problem,) if problem else jail.problems,
        **jail.common(),
    )


def _quoted(values: Mapping[str, str]) -> bool:
    return values.get("boot") in ("on", "yes")


def _json(text: str) -> tuple[dict[str, str], str]:
    """The properties as text, and what is wrong with the file."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"is no JSON: {error}"
    if not isinstance(data, dict):
        return {}, "is no JSON object"
    flat = {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in data.items()}
    return flat, ""


def _iocell(evidence: Evidence, path: str, home: str, uuid: str) -> ForeignJail:
    text = evidence.files[path]
    own = dict(_UCL.findall(text))
    jail = _Jail(evidence, path, home, uuid, {**DEFAULTS, "vnet": "on", **own})
    autostart = words.is_true(own.get("boot", ""))
    off = words.replaced(text, r'^\s*"?boot"?\s*[=:]\s*"?(\w+)', "off")
    return ForeignJail(
        manager="iocell",
        name=own.get("tag") or uuid,
        running_name=f"ioc-{uuid}",
        config=path,
        boot=autostart and words.service_enabled(evidence, "iocell"),
        autostart=autostart,
        start=("iocell", "start", uuid),
        stop=("iocell", "stop", uuid),
        autostart_off=(FileEdit(path, text, off),) if autostart and off != text else (),
        problems=(
            *jail.problems,
            *(
                ("iocell mounts the release below its tree before each start.",)
                if own.get("type", "basejail") in ("basejail", "clonejail")
                else ()
            ),
        ),
        **jail.common(kind=own.get("type", "basejail")),
    )


class _Jail:
    """What both forks make of a jail's properties."""

    def __init__(self, evidence: Evidence, path: str, home: str, name: str, properties: Mapping[str, str]) -> None:
        self.evidence, self.home, self.name, self.properties = evidence, home, name, properties
        self.directory = path.rpartition("/")[0]
        self.root = f"{self.directory}/root"
        self.vnet = self.is_set("vnet")
        self.problems = tuple(self._problems())

    def get(self, key: str) -> str:
        value = self.properties.get(key, "")
        return "" if value in ("none", "off", "readonly", "-", "None") else value

    def is_set(self, key: str) -> bool:
        return words.is_true(self.properties.get(key, "0"))

    def common(self, kind: str = "") -> dict[str, Any]:
        dataset = words.dataset_at(self.evidence, self.root)
        base = self.is_set("basejail") or kind == "basejail"
        thin = bool(self.evidence.origins.get(dataset)) or kind == "clonejail"
        fstab = f"{self.directory}/fstab"
        files = (f"{self.directory}/{name}" for name in ("config.json", "config", "fstab"))
        return {
            "root": self.root,
            "kind": BASE if base else THIN if thin else THICK,
            "release": words.release_in(self.get("cloned_release")) or self.get("release"),
            "hostname": self.get("host_hostname"),
            "addresses": self.addresses(),
            "vnet": self.vnet,
            "files": tuple(path for path in files if path in self.evidence.files),
            "dataset": dataset,
            "parameters": self.parameters(fstab if fstab in self.evidence.files else ""),
            "notes": tuple(self.notes()),
        }

    def addresses(self) -> tuple[str, ...]:
        return words.addresses(f"{self.get('ip4_addr')},{self.get('ip6_addr')}")

    def parameters(self, fstab: str) -> words.Parameters:
        found: words.Parameters = {"path": (self.root,), "host.hostname": (self.get("host_hostname") or self.name,)}
        found["host.domainname"] = (self.properties["host_domainname"],)
        found["host.hostuuid"] = (self.name,)
        if self.vnet:
            found["vnet"] = ()
        else:
            words.set_addresses(found, self.addresses())
            for version in ("ip4", "ip6"):
                found[f"{version}.saddrsel"] = (self.properties[f"{version}_saddrsel"],)
                found[version] = (self.properties[version],)
        for key in ("securelevel", "devfs_ruleset", "enforce_statfs", "sysvmsg", "sysvsem", "sysvshm"):
            found[key] = (self.properties[key],)
        found["children.max"] = (self.properties["children_max"],)
        for key in _ALLOW:
            if self.is_set(f"allow_{key}"):
                found[f"allow.{key.replace('mount_', 'mount.')}"] = ()
        for key in ("mount_devfs", "mount_fdescfs", "mount_procfs"):
            if self.is_set(key):
                found[key.replace("_", ".")] = ()
        if fstab:
            found["mount.fstab"] = (fstab,)
        for key in _HOOKS:
            value = self.get(key)
            if value and value != "/usr/bin/true":
                found[key.replace("_", ".", 1)] = (value,)
        found["exec.start"] = (self.properties["exec_start"],)
        found["exec.stop"] = (self.properties["exec_stop"],)
        if self.is_set("exec_clean"):
            found["exec.clean"] = ()
        if self.get("exec_fib") not in ("", "0"):
            found["exec.fib"] = (self.get("exec_fib"),)
        found["exec.timeout"] = (self.properties["exec_timeout"],)
        found["stop.timeout"] = (self.properties["stop_timeout"],)
        found["exec.consolelog"] = (f"{self.home}/log/{self.running_name}-console.log",)
        found["allow.dying"] = ()
        found["persist"] = ()
        return found

    @property
    def running_name(self) -> str:
        return f"ioc-{self.name.replace('.', '_')}"

    def notes(self) -> list[str]:
        notes = []
        limits = [key for key in _LIMITS if self.get(key) and (":" in self.get(key) or self.get(key)[0].isdigit())]
        if limits and (self.get("rlimits") or self.home.endswith("/iocage")):
            notes.append(f"Limits of {', '.join(limits)} are set after each start.")
        if self.get("cpuset"):
            notes.append(f"It is bound to CPUs {self.get('cpuset')} after each start.")
        if self.get("depends"):
            notes.append(f"It is started after {self.get('depends')}.")
        if self.get("quota"):
            notes.append("Its quota is a property of its dataset and stays.")
        if any("|" not in address for address in self.addresses()) and not self.vnet:
            notes.append(
                "An address without an interface is put on the host's default one by the tool, not by the file."
            )
        return notes

    def _problems(self) -> list[str]:
        problems = []
        if self.vnet:
            problems.append(f"Its interfaces ({self.get('interfaces')}) are made and joined to bridges at each start.")
        if self.is_set("dhcp") or "DHCP" in self.get("ip4_addr").upper():
            problems.append("Its address comes from DHCP, which is set up at each start.")
        if self.is_set("nat"):
            problems.append("Its network address translation is set up at each start.")
        if self.is_set("jail_zfs"):
            problems.append("Datasets are handed over to it after each start.")
        if self.is_set("template") or self.is_set("istemplate"):
            problems.append("It is a template, which is not started.")
        if self.is_set("mount_linprocfs"):
            problems.append("linprocfs is mounted in it before each start.")
        return problems
