"""jailadmin: /usr/local/etc/jailadmin.conf, with a name and below it indented `key: value` lines for each jail.

Source: kstrauser/jailadmin Jail.pm (reading the file, defaults, mounting, the old form of jail(8) that starts a jail
without a name), jail.sh (at boot `jailadmin start all`), jailadmin.conf.sample.
"""

from __future__ import annotations

import re

from jails.freebsd.foreign import words
from jails.freebsd.foreign.model import THICK, Evidence, FileEdit, ForeignJail

CONF = "/usr/local/etc/jailadmin.conf"
SCRIPT = "/usr/local/etc/rc.d/jail.sh"
GLOBS = (CONF[1:], SCRIPT[1:])
_DEFAULTS = {"fstab": "/etc/fstab", "shutdown": "naive", "startcommand": "/bin/sh /etc/rc"}


def read(evidence: Evidence) -> tuple[ForeignJail, ...]:
    text = evidence.files.get(CONF)
    if text is None:
        return ()
    jails, groups = parse(text)
    everybody = _members(groups.get("all", ["ALL"]), jails, groups)
    return tuple(_jail(evidence, text, name, values, name in everybody) for name, values in jails.items())


def parse(text: str) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """Jails with their settings, and groups with what their lists say."""
    settings = {f"default_{key}": value for key, value in _DEFAULTS.items()}
    jails: dict[str, dict[str, str]] = {}
    groups: dict[str, list[str]] = {}
    current: dict[str, str] | None = None
    for raw in text.splitlines():
        line = raw.partition("#")[0]
        below, line = line[:1] in (" ", "\t"), line.strip()
        if not line:
            continue
        if "=" in line:
            key, value = (part.strip() for part in line.split("=")[:2])
            if key.startswith("group_"):
                groups[key.removeprefix("group_")] = [part.strip() for part in value.split(",")]
            else:
                settings[key] = value
        elif not below and line.startswith("!"):
            settings.pop(line[1:].strip(), None)
        elif not below:
            own = {key.removeprefix("default_"): value for key, value in settings.items() if key.startswith("default_")}
            current = jails[line] = own | {"dir": f"{settings.get('jaildir', '')}/{line}"}
        elif current is not None and line.startswith("!"):
            current.pop(line[1:].strip(), None)
        elif current is not None and ":" in line:
            key, value = (part.strip() for part in line.split(":")[:2])
            if key == "dir" and not value.startswith("/"):
                value = f"{settings.get('jaildir', '')}/{current['dir']}"
            current[key] = value
    return jails, groups


def _members(items: list[str], jails: dict[str, dict[str, str]], groups: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    for item in items:
        if item == "ALL":
            found |= set(jails)
        elif item.startswith("!"):
            found.discard(item[1:].strip())
        elif item in jails:
            found.add(item)
        elif item in groups and groups[item] is not items:
            found |= {name for name in groups[item] if name in jails}
    return found


def _jail(evidence: Evidence, text: str, name: str, values: dict[str, str], autostart: bool) -> ForeignJail:
    root = re.sub(r"/+", "/", values["dir"]).rstrip("/")
    address = values.get("ip", "")
    script = SCRIPT in evidence.files
    points = [re.sub(r"\(\d+\)$", "", point.strip()) for point in values.get("mount", "").split(",") if point.strip()]
    lines = [line for point in points if point != "/dev" for line in _lines(evidence, values, f"{root}{point}")]
    parameters: words.Parameters = {"path": (root,), "host.hostname": (values.get("hostname", name),)}
    words.set_addresses(parameters, words.addresses(address))
    if "/dev" in points:
        parameters["mount.devfs"] = ()
    parameters["exec.start"] = (values.get("startcommand", "/bin/sh /etc/rc"),)
    if values.get("shutdown") == "emulated":
        parameters["exec.stop"] = ("/bin/sh /etc/rc.shutdown",)
    notes = ["jailadmin starts it without a name; with a file of its own it has one."]
    if points and not lines and points != ["/dev"]:
        notes.append(f"{values.get('fstab')} has no lines for what jailadmin mounts.")
    if "|" not in address:
        notes.append("Its address must be on an interface already; the file does not put it there.")
    return ForeignJail(
        manager="jailadmin",
        name=name,
        running_name=name,
        config=CONF,
        root=root,
        kind=THICK,
        hostname=values.get("hostname", ""),
        addresses=words.addresses(address),
        boot=autostart and script,
        autostart=autostart,
        start=("jailadmin", "start", name),
        stop=("jailadmin", "stop", name),
        autostart_off=(FileEdit(CONF, text, _left_out(text, name)),) if autostart else (),
        files=(CONF,),
        dataset=words.dataset_at(evidence, root),
        parameters=parameters,
        fstab="".join(f"{line}\n" for line in lines),
        notes=tuple(notes),
    )


def _lines(evidence: Evidence, values: dict[str, str], where: str) -> list[str]:
    text = evidence.files.get(values.get("fstab", ""), "")
    return [line for line in text.splitlines() if line.split()[1:2] == [where] and not line.startswith("#")]


def _left_out(text: str, name: str) -> str:
    """The file with a jail taken out of the group that starts at boot: the last definition of a group counts."""
    given = re.findall(r"^\s*group_all\s*=\s*([^#\n]*)", text, re.MULTILINE)
    newline = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{newline}group_all = {given[-1].strip() if given else 'ALL'}, !{name}\n"
