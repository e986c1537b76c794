"""Jails of rc.conf variables (`jail_list`, `jail_NAME_rootdir`, …), and the parameters that rc.d/jail makes of them.

Source: freebsd/freebsd-src libexec/rc/rc.d/jail (parse_options, extract_var, jail_handle_ips_option). Where a jail has
both a rootdir and a hostname there, they win over any jail.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from jails.freebsd import names, rcconf
from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import Evidence, FileEdit, ForeignJail

RC_FILES = ("/etc/rc.conf", "/etc/rc.conf.local", "/etc/rc.conf.d/jail", "/usr/local/etc/rc.conf.d/jail")
MANAGER = "rc.conf"
_HOOKS = ("exec_prestart", "exec_poststart", "exec_prestop", "exec_poststop")
_DEFINES = re.compile(r"jail_(\w+)_(?:rootdir|hostname|conf)")
"""Variables that only make sense for a jail of that name."""


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    """The jails that rc.conf itself defines."""
    values = evidence.rc_values
    unclear = rcconf.parse(evidence.rc_conf).unclear
    listed = values.get("jail_list", "").split()
    called = {names.rc_variable_part(name.replace(".", "_").replace("/", "_")): name for name in listed}
    parts = {match[1] for name in {*values, *unclear} if (match := _DEFINES.fullmatch(name))} | set(called)
    found = []
    for variable in values:
        match = re.fullmatch(r"jail_(\w+)_rootdir", variable)
        if match and values.get(f"jail_{match[1]}_hostname") and values[variable]:
            own = frozenset(name for name in {*values, *unclear} if _owner(name, parts) == match[1])
            found.append(_jail(evidence, values, match[1], called, own, sorted(own & unclear)))
    return tuple(found)


def _owner(variable: str, parts: Collection[str]) -> str:
    """The jail that a variable is of, as variables name it: of `jail_web_db_ip` web_db, where there is one, not web."""
    return max((part for part in parts if variable.startswith(f"jail_{part}_")), key=len, default="")


def _jail(
    evidence: Evidence,
    values: Mapping[str, str],
    part: str,
    called: Mapping[str, str],
    own: frozenset[str],
    unclear: Iterable[str],
) -> ForeignJail:
    name = called.get(part, part)
    running_name = name.replace(".", "_").replace("/", "_")
    parameters, notes = legacy_parameters(evidence, values, running_name)
    autostart = part in called
    problems = [f"{each}: only running rc.conf would tell it" for each in unclear]
    places, edits = [], []
    try:
        edits = _without(evidence, own)
        places = [edit.path for edit in edits]
    except ValueError as error:
        places = [path for path in RC_FILES if own & rcconf.parse(evidence.files.get(path, "")).values.keys()]
        problems += [] if problems else [f"{error}."]
    return ForeignJail(
        manager=MANAGER,
        name=name,
        running_name=running_name,
        config=places[0] if places else RC_FILES[0],
        root=values[f"jail_{part}_rootdir"].rstrip("/") or "/",
        hostname=values[f"jail_{part}_hostname"],
        addresses=addresses_of(values, part),
        vnet="vnet" in parameters,
        boot=autostart and words.service_enabled(evidence, "jail"),
        autostart=autostart,
        start=("service", "jail", "onestart", name),
        stop=("service", "jail", "onestop", name),
        autostart_off=tuple(edits),
        files=tuple(places),
        parameters=parameters,
        notes=(
            *notes,
            f"The lines of jail_{part}_… are made comments, since rc.d/jail prefers them to any jail.conf; "
            "jail_list and its order stay as they are.",
        ),
        problems=tuple(problems),
    )


def _without(evidence: Evidence, own: frozenset[str]) -> list[FileEdit]:
    """The edits that make a jail's variables comments. ValueError where no edit of whole lines does that alone: what
    sh gets from all these files together may not change for any other variable."""
    after = dict(evidence.files)
    for path in RC_FILES:
        if path in after:
            try:
                after[path] = rcconf.without(after[path], own)
            except ValueError as error:
                raise ValueError(f"{path}: {error}; write each jail_… variable on a line of its own") from error
    before, left = _together(evidence.files), _together(after)
    others = {name: value for name, value in before.values.items() if name not in own}
    if (left.values, left.unclear, left.reads) != (others, before.unclear, before.reads):
        changed = sorted(name for name in others if left.values.get(name) != others[name])
        raise ValueError(f"rc.conf: {', '.join(changed) or 'another variable'} is made of the jail's own variables")
    edits = [FileEdit(path, evidence.files[path], after[path]) for path in RC_FILES if path in after]
    return [edit for edit in edits if edit.before != edit.after]


def _together(files: Mapping[str, str]) -> rcconf.RcConf:
    return rcconf.parse("\n".join(files[path] for path in RC_FILES if path in files))


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
