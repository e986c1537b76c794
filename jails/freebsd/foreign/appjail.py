"""AppJail: jails/NAME with jail (the tree) and conf/{config.conf,template.conf,fstab,boot/startup/boot}.

Sources: DtxdF/AppJail share/appjail/cmd/{start,stop,jail,fstab,startup}, share/appjail/files/{default,default_template}
.conf, libexec/appjail-config/template.c (`name: value`, `+` for a value more, `*` for one that must be given),
etc/rc.d/appjail.sh. `appjail start` writes conf/jail.conf and conf/fstab anew each time.
"""

from __future__ import annotations

import re

from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import HOOKS, THICK, THIN, Evidence, FileEdit, ForeignJail

DATA = "/usr/local/appjail"
SETTINGS = "/usr/local/etc/appjail/appjail.conf"
BOOT = "conf/boot/startup/boot"
_CONF = ("conf/config.conf", "conf/template.conf", "conf/fstab", BOOT)
GLOBS = (*(f"usr/local/appjail/jails/*/{name}" for name in _CONF), SETTINGS[1:])
_TEMPLATE = re.compile(r"^\s*([*+]*)([A-Za-z_$][\w.]*)([*+]*)\s*(?::\s*(.*?))?\s*$")
_DEFAULT: words.Parameters = {
    "exec.start": ("/bin/sh /etc/rc",),
    "exec.stop": ("/bin/sh /etc/rc.shutdown jail",),
    "mount.devfs": (),
    "persist": (),
}


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    found = words.matching(evidence.files, rf"{DATA}/jails/([^/]+)/conf/config\.conf")
    return tuple(_jail(evidence, path, match[1]) for path, match in found)


def template(text: str) -> words.Parameters:
    """A template's parameters with their values; columns of one line are joined by commas there."""
    found: words.Parameters = {}
    for line in text.splitlines():
        match = _TEMPLATE.match(line.partition("#")[0] if '"' not in line else line)
        if match is None or match[2].startswith("$"):
            continue
        name, value = match[2], match[4]
        if value is None:
            found.setdefault(name, ())
            continue
        values = tuple(_columns(value))
        found[name] = (*found.get(name, ()), *values) if "+" in match[1] + match[3] else values
    return found


def _columns(text: str) -> list[str]:
    columns = re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s,"]+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted) if quoted else bare for quoted, bare in columns]


def _jail(evidence: Evidence, path: str, name: str) -> ForeignJail:
    directory = f"{DATA}/jails/{name}"
    root = f"{directory}/jail"
    config = {key: " ".join(values) for key, values in template(evidence.files[path]).items()}
    own = evidence.files.get(f"{directory}/conf/template.conf")
    given = template(own) if own is not None else _DEFAULT
    settings = words.variables(evidence.files.get(SETTINGS, ""))
    parameters: words.Parameters = {"path": (root,)}
    hostname = f"{name}{settings.get('HOST_DOMAIN', '.appjail')}"
    parameters["host.hostname"] = given.get("host.hostname") or (hostname,)
    parameters |= {key: values for key, values in given.items() if key not in ("path", "name", "depend")}
    parameters.setdefault("exec.consolelog", (f"/var/log/appjail/jails/{name}/console.log",))
    thin = config.get("jail_type", "thin") == "thin"
    release = config.get("osversion", "")
    fstab = evidence.files.get(f"{directory}/conf/fstab", "")
    problems = [f"Its template wants ${key[1:]}." for key in given if key.startswith("$")]
    if thin:
        where = "/".join((config.get("osarch", ""), release, config.get("release_name", "default"), "release"))
        fstab = f"{DATA}/releases/{where} {root}/.appjail nullfs ro 0 0\n{fstab}"
    if config.get("is_container") == "1":
        problems.append("It is a container, whose image AppJail mounts at each start.")
    if given.get("devfs_ruleset") == ("auto",):
        problems.append("AppJail makes its devfs ruleset at each start.")
    found = [*parameters.get("ip4.addr", ()), *parameters.get("ip6.addr", ())]
    interface = "".join(given.get("interface", ())[-1:])
    autostart = f"{directory}/{BOOT}" in evidence.files
    notes = ["An initscript of AppJail is not run by jail(8)."]
    if "depend" in given:
        notes.append(f"AppJail starts {', '.join(given['depend'])} before it.")
    commands = (value for key, values in parameters.items() if key in HOOKS for value in values)
    if any("appjail" in command for command in commands):
        notes.append("Its hooks call appjail, which has to stay installed.")
    if thin and not release:
        problems.append(f"{path}: does not say which release it mounts")
    return ForeignJail(
        manager="appjail",
        name=name,
        running_name=name,
        config=path,
        root=root,
        kind=THIN if thin else THICK,
        release=release,
        hostname=parameters["host.hostname"][-1],
        addresses=words.addresses(",".join(found), interface),
        vnet="vnet" in parameters,
        boot=autostart and words.service_enabled(evidence, "appjail"),
        autostart=autostart,
        start=("appjail", "start", name),
        stop=("appjail", "stop", name),
        autostart_off=(
            (FileEdit(f"{directory}/{BOOT}", evidence.files[f"{directory}/{BOOT}"], None),) if autostart else ()
        ),
        files=tuple(f"{directory}/{each}" for each in _CONF if f"{directory}/{each}" in evidence.files),
        dataset=words.dataset_at(evidence, root) or words.dataset_at(evidence, directory),
        parameters=parameters,
        fstab=fstab,
        notes=tuple(notes),
        problems=tuple(problems),
    )
