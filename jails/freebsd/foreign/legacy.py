"""Jails of rc.conf variables (`jail_list`, `jail_NAME_rootdir`, …), and the parameters that rc.d/jail makes of them.

Source: freebsd/freebsd-src libexec/rc/rc.d/jail (parse_options, extract_var, jail_handle_ips_option). Where a jail has
both a rootdir and a hostname there, they win over any jail.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from jails.freebsd import names, rcconf
from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import Evidence, FileEdit, ForeignJail

RC_FILES = ("/etc/rc.conf", "/etc/rc.conf.local", "/etc/rc.conf.d/jail", "/usr/local/etc/rc.conf.d/jail")
MANAGER = "rc.conf"
_HOOKS = ("exec_prestart", "exec_poststart", "exec_prestop", "exec_poststop")


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    """The jails that rc.conf itself defines."""
    values = evidence.rc_values
    unclear = rcconf.parse(evidence.rc_conf)
    listed = values.get("jail_list", "").split()
    called = {names.rc_variable_part(name.replace(".", "_").replace("/", "_")): name for name in listed}
    found = []
    for variable in values:
        match = re.fullmatch(r"jail_(\w+)_rootdir", variable)
        if match and values.get(f"jail_{match[1]}_hostname") and values[variable]:
            found.append(_jail(evidence, values, match[1], called, unclear))
    return tuple(found)


def _jail(
    evidence: Evidence, values: Mapping[str, str], part: str, called: Mapping[str, str], rc_conf: rcconf.RcConf
) -> ForeignJail:
    name = called.get(part, part)
    running_name = name.replace(".", "_").replace("/", "_")
    parameters, notes = legacy_parameters(evidence, values, running_name)
    autostart = part in called
    prefix = f"jail_{part}_"
    places = [path for path in RC_FILES if re.search(rf"^\s*{prefix}", evidence.files.get(path, ""), re.MULTILINE)]
    problems = [f"{each}: only running rc.conf would tell it" for each in rc_conf.unclear if each.startswith(prefix)]
    return ForeignJail(
        manager=MANAGER,
        name=name,
        running_name=running_name,
        config=places[0] if places else RC_FILES[0],
        root=values[f"{prefix}rootdir"].rstrip("/") or "/",
        hostname=values[f"{prefix}hostname"],
        addresses=addresses_of(values, part),
        vnet="vnet" in parameters,
        boot=autostart and words.service_enabled(evidence, "jail"),
        autostart=autostart,
        start=("service", "jail", "onestart", name),
        stop=("service", "jail", "onestop", name),
        autostart_off=tuple(_without(evidence, path, prefix) for path in places),
        files=tuple(places),
        parameters=parameters,
        notes=(
            *notes,
            f"The lines of jail_{part}_… are made comments, since rc.d/jail prefers them to any jail.conf; "
            "jail_list and its order stay as they are.",
        ),
        problems=tuple(problems),
    )


def _without(evidence: Evidence, path: str, prefix: str) -> FileEdit:
    before = evidence.files[path]
    return FileEdit(path, before, re.sub(rf"^(?=[ \t]*{prefix}\w+=)", "#", before, flags=re.MULTILINE))


def addresses_of(values: Mapping[str, str], part: str) -> tuple[str, ...]:
    """`jail_NAME_ip` and `jail_NAME_ip_multi0`…, with the interface each is on."""
    interface = values.get(f"jail_{part}_interface") or values.get("jail_interface", "")
    texts = [values.get(f"jail_{part}_ip", "")]
    while more := values.get(f"jail_{part}_ip_multi{len(texts) - 1}"):
        texts.append(more)
    return tuple(address for text in texts for address in map(_with_prefix, words.addresses(text, interface)))


def _with_prefix(address: str) -> str:
    rest = address.rpartition("|")[2]
    if "/" in rest or " " in rest.strip():
        netmask = re.fullmatch(r"(.*)/(\d+\.\d+\.\d+\.\d+)", address)
        return f"{netmask[1]} netmask {netmask[2]}" if netmask else address
    return f"{address}/{128 if ':' in rest else 32}"


def legacy_parameters(
    evidence: Evidence, values: Mapping[str, str], name: str
) -> tuple[words.Parameters, tuple[str, ...]]:
    """What rc.d/jail writes into /var/run/jail.NAME.conf for a jail of variables; and notes of what it warns of."""
    part = names.rc_variable_part(name)

    def get(key: str, default: str = "") -> str:
        return values.get(f"jail_{part}_{key}") or values.get(f"jail_{key}") or default

    own = values.get
    notes = []
    parameters: words.Parameters = {
        "host.hostname": (own(f"jail_{part}_hostname", ""),),
        "path": (own(f"jail_{part}_rootdir", ""),),
    }
    if own(f"jail_{part}_ip"):
        words.set_addresses(parameters, addresses_of(values, part))
        if get("fib"):
            parameters["exec.fib"] = (get("fib"),)
        raw = not words.is_true(get("socket_unixiproute_only", "YES"))
        parameters["allow.raw_sockets"] = ("1" if raw else "0",)
    else:
        parameters["vnet"] = ()
        if get("vnet_interface"):
            parameters["vnet.interface"] = tuple(get("vnet_interface").split())
    parameters |= {"exec.clean": (), "exec.system_user": ("root",), "exec.jail_user": ("root",)}
    for key in _HOOKS:
        if found := _numbered(values, part, key, 0):
            parameters[key.replace("_", ".", 1)] = found
    start, stop = own(f"jail_{part}_exec", "") or own(f"jail_{part}_exec_start", ""), own(f"jail_{part}_exec_stop", "")
    if not start:
        start, stop = "/bin/sh /etc/rc", stop or "/bin/sh /etc/rc.shutdown jail"
    parameters["exec.start"] = (start, *_numbered(values, part, "exec_afterstart", 0))
    if stop:
        parameters["exec.stop"] = (stop,)
    parameters["exec.consolelog"] = (get("consolelog", f"/var/log/jail_{name}_console.log"),)
    fstab = get("fstab", f"/etc/fstab.{name}")
    if fstab in evidence.files:
        parameters["mount.fstab"] = (fstab,)
    if words.is_true(get("devfs_enable")):
        parameters["mount.devfs"] = ()
        ruleset = get("devfs_ruleset")
        if ruleset.isdecimal():
            parameters["devfs_ruleset"] = (ruleset,)
        elif ruleset and ruleset != "devfsrules_jail":
            notes.append(f"devfs_ruleset {ruleset} is no number: rc.d/jail leaves it out, and so does the file")
    for key, parameter in (("fdescfs", "mount.fdescfs"), ("procfs", "mount.procfs"), ("mount", "allow.mount")):
        if words.is_true(get(f"{key}_enable")):
            parameters[parameter] = ()
    parameters["allow.set_hostname"] = ("1" if words.is_true(get("set_hostname_allow")) else "0",)
    parameters["allow.sysvipc"] = ("1" if words.is_true(get("sysvipc_allow")) else "0",)
    parameters["enforce_statfs"] = (get("enforce_statfs", "2"),)
    for key in ("osreldate", "osrelease"):
        if get(key):
            parameters[key] = (get(key),)
    for word in get("parameters").split():
        key, equals, value = word.rstrip(";").partition("=")
        parameters[key] = (value.strip("\"'"),) if equals else ()
    return parameters, tuple(notes)


def _numbered(values: Mapping[str, str], part: str, key: str, first: int) -> tuple[str, ...]:
    """KEY0, KEY1, … of the jail or else of all jails; the first may be missing."""
    found: list[str] = []
    number = first
    while True:
        value = values.get(f"jail_{part}_{key}{number}") or values.get(f"jail_{key}{number}", "")
        if value:
            found.append(value)
        elif number:
            return tuple(found)
        number += 1
