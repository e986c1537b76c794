"""Other jail managers on the simulated host, as far as starting, stopping and their autostart go.

None is there unless its program lies at /usr/local. What they do to the host is what their sources do, through jail(8),
mount(8) and ifconfig(8) of the host; their messages are those sources' without colours: iocage/iocage (ioc_start.py,
ioc_stop.py), bartekrutkowski/iocell (lib/ioc-rc), BastilleBSD/bastille (start.sh, stop.sh), DtxdF/AppJail (cmd/start,
cmd/stop, cmd/jail), cbsd/cbsd (sudoexec/jstart, jstop), bsdpot/pot (start.sh, stop.sh), kstrauser/jailadmin (Jail.pm),
tomster/ezjail (ezjail.sh).
"""

from __future__ import annotations

import fnmatch
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from jails.freebsd import jailconf
from jails.freebsd.foreign import GLOBS, Evidence, ForeignJail, cbsd, jailadmin, legacy, read
from jails.freebsd.foreign.words import variables
from jails.hosts.simulated import clock, prison
from jails.hosts.simulated.world import World

SCRIPTS: Mapping[str, tuple[str, ...]] = {
    "iocage": ("iocage",),
    "iocell": ("iocell",),
    "ezjail": ("ezjail", "bsdploy"),
    "bastille": ("bastille",),
    "appjail": ("appjail",),
    "cbsdd": ("cbsd",),
    "pot": ("pot",),
    "jail.sh": ("jailadmin",),
}
"""Scripts of /usr/local/etc/rc.d, and whose jails each starts."""
_BY_TOOL = ("exec.start", "exec.stop", "exec.prestart", "exec.poststart", "exec.prestop", "exec.poststop")


# What is there


def evidence(process: World) -> Evidence:
    """What the tools read of this host."""
    patterns = [*(f"/{glob}" for glob in GLOBS), *legacy.RC_FILES, "/etc/fstab"]
    files = {path: _text(process, path) for pattern in patterns for path in _expand(process, pattern)}
    rc_conf = "\n".join(files.get(path, "") for path in legacy.RC_FILES)
    return Evidence(files=files, rc_conf=rc_conf, datasets=_datasets(process))


def jails_of(process: World, *managers: str) -> list[ForeignJail]:
    return [jail for jail in read(evidence(process)) if jail.manager in managers]


def _text(process: World, path: str) -> str:
    if path.endswith(f"/{cbsd.DATABASE}"):
        with open(process.locate_in(path).backing, "rb") as file:
            return cbsd.database_text(file.read())
    return process.read_text(path)


def _expand(process: World, pattern: str) -> list[str]:
    """glob(3), for patterns whose parts are `*` and plain text."""
    found = [""]
    for part in pattern.split("/")[1:]:
        if "*" not in part:
            found = [f"{path}/{part}" for path in found]
            continue
        found = [f"{path}/{name}" for path in found for name in _names(process, path) if _fits(name, part)]
    return [path for path in found if process.stat(path) == "file"]


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and not name.startswith(".")


def _names(process: World, path: str) -> list[str]:
    try:
        return sorted(process.listdir(path or "/"))
    except OSError:
        return []


def _datasets(process: World) -> dict[str, str]:
    rc, out, _ = process.capture(["zfs", "list", "-H", "-o", "name,mountpoint"])
    rows = [line.split("\t") for line in out.decode("utf-8", "replace").splitlines()] if rc == 0 else []
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _find(process: World, managers: tuple[str, ...], name: str) -> ForeignJail | None:
    called = ((jail.name, jail.running_name, jail.start[-1:], jail) for jail in jails_of(process, *managers))
    return next((jail for own, running, last, jail in called if name in (own, running, *last)), None)


def _jid(process: World, jail: ForeignJail) -> int | None:
    """The running jail in its tree."""
    with process.host.reading() as state:
        rows = [row for row in prison.all_prisons(state) if row["path"].rstrip("/") == jail.root]
    return int(rows[0]["jid"]) if rows else None


# What all of them do


def _create(process: World, conf: str, name: str, jail: ForeignJail, without: tuple[str, ...] = ()) -> tuple[int, str]:
    """Write a jail.conf(5) and have jail(8) make the jail; its status and what it says."""
    parameters = {key: values for key, values in jail.parameters.items() if key not in without}
    process.write_text(conf, jailconf.render_jail(name, parameters, header=""))
    return process.captured(["jail", "-f", conf, "-c", name])


def _on_command_line(jail: ForeignJail, without: tuple[str, ...] = ()) -> list[str]:
    given = ((key, values) for key, values in jail.parameters.items() if key not in without)
    return [f"{key}={','.join(values)}" if values else key for key, values in given]


def _in_jail(process: World, name: str, command: str, log: str = "") -> int:
    status, text = process.captured(["jexec", name, "sh", "-c", command])
    if log and process.stat(log.rpartition("/")[0]) == "dir":
        process.write_text(log, text, append=True)
    return status


def _hook(process: World, jail: ForeignJail, name: str) -> int:
    return max((process.captured(["sh", "-c", each])[0] for each in jail.parameters.get(name, ())), default=0)


def _mount(process: World, jail: ForeignJail) -> str:
    """Mount what the tool itself mounts before a start; what went wrong, in mount(8)'s words."""
    for line in jail.fstab.splitlines():
        device, point, kind, options = line.split()[:4]
        status, text = process.captured(["mount", "-t", kind, "-o", options, device, point])
        if status:
            return text
    return ""


def _unmount(process: World, jail: ForeignJail) -> None:
    for line in reversed(jail.fstab.splitlines()):
        point = line.split()[1]
        if process.mounted_type(point):
            process.captured(["umount", point])


def _take_aliases_away(process: World, jail: ForeignJail) -> None:
    for address in jail.addresses:
        interface, bar, rest = address.partition("|")
        if bar:
            family = "inet6" if ":" in rest else "inet"
            process.captured(["ifconfig", interface, family, rest.split("/")[0], "-alias"])


def _command(caller: Any, managers: tuple[str, ...], absent: str) -> tuple[World, str, ForeignJail]:
    """`TOOL start NAME` and `TOOL stop NAME`."""
    process = World(caller)
    words = [word for word in process.argv[1:] if not word.startswith("-")]
    if len(words) < 2 or words[0] not in ("start", "stop"):
        process.err(f"Usage: {process.name} start|stop NAME\n")
        raise process.exit(1)
    jail = _find(process, managers, words[1])
    if jail is None:
        process.err(absent.format(words[1]) + "\n")
        raise process.exit(1)
    return process, words[0], jail


# iocage


def iocage_main(caller: Any) -> int:
    process, verb, jail = _command(caller, ("iocage",), "jail '{}' not found!")
    return _iocage_start(process, jail) if verb == "start" else _iocage_stop(process, jail)


def _iocage_start(process: World, jail: ForeignJail) -> int:
    out, name = process.out, jail.running_name
    if _jid(process, jail) is not None:
        process.err(f"{jail.name} is already running!\n")
        return 1
    out(f"* Starting {jail.name}\n")
    if _hook(process, jail, "exec.prestart"):
        process.err(f"  + Executing exec_prestart FAILED\nRefusing to start {jail.name}: exec_prestart failed\n")
        return 1
    status, text = _create(process, f"/var/run/jail.{name}.conf", name, jail, _BY_TOOL)
    if status:
        process.err(f"  + Start FAILED\n{text}\n")
        return 1
    out("  + Started OK\n  + Using devfs_ruleset: 4 (iocage generated default)\n")
    if jail.vnet:
        _join_bridge(process, jail)
        out("  + Configuring VNET OK\n")
    else:
        out(f"  + Using IP options: ip4.saddrsel={jail.parameters.get('ip4.saddrsel', ('1',))[-1]}\n")
    log = jail.parameters["exec.consolelog"][-1]
    if _in_jail(process, name, jail.parameters["exec.start"][-1], log):
        process.err("  + Starting services FAILED\n")
        return 1
    out("  + Starting services OK\n")
    _hook(process, jail, "exec.poststart")
    out("  + Executing poststart OK\n")
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(clock.now()))
    text = process.read_text(jail.config)
    process.write_text(jail.config, re.sub(r'("last_started":\s*)"[^"]*"', rf'\1"{moment}"', text))
    return 0


def _join_bridge(process: World, jail: ForeignJail) -> None:
    """A pair of interfaces, one end in the jail with its address, the other one in bridge0."""
    process.captured(["ifconfig", "bridge0", "create"])
    _, text = process.captured(["ifconfig", "epair", "create"])
    pair, jid = text.strip(), _jid(process, jail)
    mine = f"vnet0.{jid}"
    process.captured(["ifconfig", pair, "name", mine])
    process.captured(["ifconfig", "bridge0", "addm", mine, "up"])
    process.captured(["ifconfig", mine, "up"])
    theirs = f"{pair[:-1]}b"
    process.captured(["ifconfig", theirs, "vnet", jail.running_name])
    for address in jail.addresses:
        family = "inet6" if ":" in address else "inet"
        process.captured(["jexec", jail.running_name, "ifconfig", theirs, family, address.rpartition("|")[2], "up"])


def _iocage_stop(process: World, jail: ForeignJail) -> int:
    out, name, jid = process.out, jail.running_name, _jid(process, jail)
    if jid is None:
        process.err(f"{jail.name} is not running!\n")
        return 0
    out(f"* Stopping {jail.name}\n")
    _hook(process, jail, "exec.prestop")
    out("  + Executing prestop OK\n")
    _in_jail(process, name, jail.parameters["exec.stop"][-1], jail.parameters["exec.consolelog"][-1])
    out("  + Stopping services OK\n")
    if jail.vnet:
        process.captured(["ifconfig", "bridge0", "deletem", f"vnet0.{jid}"])
        process.captured(["ifconfig", f"vnet0.{jid}", "destroy"])
        out("  + Tearing down VNET OK\n")
    conf = f"/var/run/jail.{name}.conf"
    given = ["-f", conf] if process.stat(conf) == "file" else []
    status, text = process.captured(["jail", "-q", *given, "-r", name])
    if status:
        process.err(f"  + Removing jail process FAILED:\n{text}\n")
        return 1
    out("  + Removing jail process OK\n")
    process.unlink(conf)
    _hook(process, jail, "exec.poststop")
    out("  + Executing poststop OK\n")
    for path in ("dev/fd", "dev", "proc"):
        if process.mounted_type(f"{jail.root}/{path}"):
            process.captured(["umount", "-f", f"{jail.root}/{path}"])
    return 0


# iocell


def iocell_main(caller: Any) -> int:
    process, verb, jail = _command(caller, ("iocell",), "  ERROR: {} not found!")
    name, uuid = jail.running_name, jail.running_name.removeprefix("ioc-")
    title = f"{uuid} ({jail.name})"
    if verb == "start":
        if _jid(process, jail) is not None:
            process.err(f"  INFO: {title} is already up\n")
            return 1
        process.out(f"* Starting {title}\n")
        words = _on_command_line(jail, ("exec.start", "exec.created"))
        status, text = process.captured(["jail", "-c", f"name={name}", *words])
        if status:
            process.err(f"{text}  ! Start                FAILED\n")
            return 1
        process.out("  + Started (shared IP mode) OK\n  + Starting services        OK\n")
        _in_jail(process, name, jail.parameters["exec.start"][-1], jail.parameters["exec.consolelog"][-1])
        return 0
    if _jid(process, jail) is None:
        process.err(f"  INFO: {title} is already down\n")
        return 1
    process.out(f"* Stopping {title}\n  + Running pre-stop         OK\n")
    _in_jail(process, name, jail.parameters["exec.stop"][-1])
    process.out("  + Stopping services        OK\n")
    _take_aliases_away(process, jail)
    status, _ = process.captured(["jail", "-r", name])
    process.out(f"  + Removing jail process    {'FAILED' if status else 'OK'}\n  + Running post-stop        OK\n")
    for path in ("dev/fd", "dev", "proc"):
        if process.mounted_type(f"{jail.root}/{path}"):
            process.captured(["umount", f"{jail.root}/{path}"])
    return 0


# Bastille


def bastille_main(caller: Any) -> int:
    process, verb, jail = _command(caller, ("bastille",), "[ERROR]: Jail not found: {}")
    is_up = _jid(process, jail) is not None
    process.out(f"\n[{jail.name}]:\n")
    if is_up is (verb == "start"):
        process.flush()
        process.err(f"Jail is already {'running' if is_up else 'stopped'}.\n")
        return 0
    # What jail(8) says and how it ends is not looked at.
    _, text = process.captured(["jail", "-f", jail.config, "-c" if verb == "start" else "-r", jail.name])
    process.out(text)
    return 0


# AppJail


def appjail_main(caller: Any) -> int:
    process = World(caller)
    words = process.argv[1:]
    if words[:2] == ["jail", "boot"] and len(words) == 4 and words[2] in ("on", "off"):
        return _appjail_boot(process, words[3], words[2] == "on")
    process, verb, jail = _command(caller, ("appjail",), "[00:00:00] [ error ] Cannot find the jail `{}`")

    def say(level: str, text: str) -> None:
        process.err(f"[00:00:00] [ {level:<5} ] [{jail.name}] {text}\n")

    is_up = _jid(process, jail) is not None
    if is_up is (verb == "start"):
        say("warn", f"{jail.name} is {'running' if is_up else 'not running'}.")
        return 0
    directory = jail.root.removesuffix("/jail")
    conf = f"{directory}/conf/jail.conf"
    if verb == "stop":
        say("warn", f"Stopping {jail.name}...")
        status, text = process.captured(["jail", "-r", "-f", conf, jail.name])
        process.err(text)
        _appjail_base(process, jail, "umount")
        return status
    say("info", f"Starting {jail.name}...")
    fstab = f"{directory}/conf/fstab"
    if process.stat(fstab) is None:
        process.write_text(fstab, "")
    if problem := _appjail_base(process, jail, "mount"):
        say("error", f"Error mounting: {problem.strip()}")
        return 70
    parameters = {**jail.parameters, "mount.fstab": (fstab,)}
    process.write_text(conf, jailconf.render_jail(jail.name, parameters, header=""))
    status, text = process.captured(["jail", "-c", "-f", conf, jail.name])
    process.err(text)
    if status:
        say("error", f"An error has occurred while starting the jail '{jail.name}'")
        _appjail_base(process, jail, "umount")
    return status


def _appjail_base(process: World, jail: ForeignJail, verb: str) -> str:
    """Mount or unmount the release of a thin jail; what went wrong."""
    line = jail.fstab.splitlines()[:1]
    if jail.kind != "thin" or not line:
        return ""
    device, point = line[0].split()[:2]
    argv = ["mount_nullfs", "-o", "ro", device, point] if verb == "mount" else ["umount", point]
    status, text = process.captured(argv)
    return text if status else ""


def _appjail_boot(process: World, name: str, on: bool) -> int:
    jail = _find(process, ("appjail",), name)
    if jail is None:
        process.err(f"[00:00:00] [ error ] Cannot find the jail `{name}`\n")
        return 66
    path = f"{jail.root.removesuffix('/jail')}/conf/boot/startup"
    process.captured(["mkdir", "-p", path])
    process.captured(["touch", f"{path}/boot"] if on else ["rm", "-f", f"{path}/boot"])
    return 0


# CBSD


def cbsd_main(caller: Any) -> int:
    process = World(caller)
    verb, words = (process.argv[1:2] or [""])[0], process.argv[2:]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    name = given.get("jname") or next((word for word in words if "=" not in word), "")
    jail = _find(process, ("cbsd",), name)
    if jail is None or not jail.start:
        process.err(f"No such jail: {name}\n")
        return 1
    if verb == "jset":
        return _cbsd_set(process, jail, given)
    jid = _jid(process, jail)
    if verb == "jstart":
        if jid is not None:
            process.err(f"Jail {name} already running, jid: {jid}\n")
            return 1
        process.out(f"Starting jail: {name}, parallel timeout=5\n")
        status, text = _create(process, f"{jail.config.removesuffix(f'/{cbsd.DATABASE}')}/{name}.conf", name, jail)
        process.unlink(f"{jail.config.removesuffix(f'/{cbsd.DATABASE}')}/{name}.conf")
        process.out(text if status else "")
        return status
    if verb == "jstop":
        if jid is None:
            process.err(f"Not Running: {name}\n")
            return 1
        process.out(f"Stopping jail: {name}, parallel timeout=5\n")
        _in_jail(process, name, jail.parameters["exec.stop"][-1])
        status, text = process.captured(["jail", "-r", name])
        _take_aliases_away(process, jail)
        if process.mounted_type(f"{jail.root}/dev"):
            process.captured(["umount", "-f", f"{jail.root}/dev"])
        process.out(text if status else "jstop done in 0 seconds\n")
        return status
    process.err(f"No such command: {verb}\n")
    return 1


def _cbsd_set(process: World, jail: ForeignJail, given: Mapping[str, str]) -> int:
    place = process.locate_in(jail.config)
    with open(place.backing, "rb") as file:
        data = file.read()
    with closing(sqlite3.connect(":memory:")) as old, closing(sqlite3.connect(":memory:")) as new:
        old.deserialize(data)
        (text,) = old.execute("SELECT sql FROM sqlite_master WHERE name = 'jails'").fetchone()
        columns = [row[1] for row in old.execute("PRAGMA table_info(jails)")]
        new.execute(text)
        for row in old.execute("SELECT * FROM jails ORDER BY rowid").fetchall():
            values = dict(zip(columns, row, strict=True))
            if values["jname"] == jail.name:
                values |= {key: value for key, value in given.items() if key in columns and key != "jname"}
            new.execute(f"INSERT INTO jails VALUES ({', '.join('?' * len(columns))})", list(values.values()))  # noqa: S608
        new.commit()
        with open(place.backing, "wb") as file:
            file.write(new.serialize())
    process.host.touched(place.mount)
    for key, value in given.items():
        if key != "jname":
            process.out(f"{key}: {value}\n")
    return 0


# pot


def pot_main(caller: Any) -> int:
    process, verb, jail = _command(caller, ("pot",), "###>  Pot {} not found")
    jid = _jid(process, jail)
    if verb == "start":
        if jid is not None:
            return 0
        if jail.vnet:
            process.out(f"###>  {jail.name} failed to start\n")
            return 1
        if _mount(process, jail):
            process.out("###>  Mount failed \n")
            _unmount(process, jail)
            return 1
        process.out(f"===>  Starting the pot {jail.name}\n")
        status, text = process.captured(["jail", "-c", f"name={jail.name}", *_on_command_line(jail)])
        if status:
            process.out(f"{text}###>  {jail.name} failed to start\n")
            _unmount(process, jail)
        return 1 if status else 0
    if jid is None:
        process.out(f"###>  pot {jail.name} is already stopped!\n")
        return 1
    process.captured(["jail", "-q", "-r", jail.name])
    _take_aliases_away(process, jail)
    for path in ("dev/fd", "dev", "proc"):
        if process.mounted_type(f"{jail.root}/{path}"):
            process.captured(["umount", "-f", f"{jail.root}/{path}"])
    _unmount(process, jail)
    return 0


# jailadmin


def jailadmin_main(caller: Any) -> int:
    process = World(caller)
    verb, names = (process.argv[1:2] or [""])[0], process.argv[2:]
    if verb not in ("start", "stop"):
        process.err(
            f'ERROR: "{verb}" is not a valid operation.  The requested operation must be\n'
            "one of 'start', 'stop', or 'status'\n"
        )
        return 255
    known = {jail.name: jail for jail in jails_of(process, "jailadmin")}
    if names == ["all"]:
        names = sorted(name for name, jail in known.items() if jail.autostart)
    # A name that it does not know is left out without a word.
    for jail in (known[name] for name in sorted(names) if name in known):
        _jailadmin_start(process, jail) if verb == "start" else _jailadmin_stop(process, jail)
    return 0


def _jailadmin_points(process: World, jail: ForeignJail) -> list[str]:
    values = jailadmin.parse(process.read_text(jailadmin.CONF))[0][jail.name]
    points = (re.sub(r"\(\d+\)$", "", point.strip()) for point in values.get("mount", "").split(","))
    return [f"{jail.root}{point}" for point in points if point]


def _jailadmin_start(process: World, jail: ForeignJail) -> None:
    process.out(f"Starting server {jail.name}...\n")
    if _jid(process, jail) is not None:
        process.err("ERROR: That jail already seems to be running\n")
        return
    for point in _jailadmin_points(process, jail):
        process.captured(["mount", point])
    # Its old form of the command has no name for the jail.
    words = _on_command_line(jail, ("exec.start", "exec.stop", "mount.devfs"))
    _, text = process.captured(["jail", "-c", *words, "command=/bin/sh", "/etc/rc"])
    process.out(text)


def _jailadmin_stop(process: World, jail: ForeignJail) -> None:
    process.out(f"--- Server: {jail.name} state 1\n")
    jid = _jid(process, jail)
    if jid is not None:
        _in_jail(process, str(jid), "sh /etc/rc.shutdown")
        process.captured(["jail", "-r", str(jid)])
    for point in reversed(_jailadmin_points(process, jail)):
        if process.mounted_type(point):
            process.captured(["umount", point])


# rc(8)


def rc_script(process: World, name: str, verb: str, words: list[str]) -> int:
    """A script of SCRIPTS: at boot it starts what starts at boot, and stops all that runs when the host goes down."""
    jails = jails_of(process, *SCRIPTS[name])
    if verb not in ("start", "stop"):
        process.err(f"/usr/local/etc/rc.d/{name}: unknown directive '{verb}'.\n")
        return 1
    for jail in jails:
        chosen = jail.autostart if verb == "start" else _jid(process, jail) is not None
        if chosen and (argv := jail.start if verb == "start" else jail.stop):
            process.run(list(argv))
    del words
    return 0


def ezjail_jails(process: World, words: list[str], verb: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The jails that rc.d/ezjail hands to rc.d/jail, by their names there, each with the variables of its file."""
    names = [re.sub(r"[^A-Za-z0-9]", "_", word) for word in words]
    if not words:
        names = [
            jail.running_name for jail in jails_of(process, "ezjail", "bsdploy") if jail.autostart or verb == "stop"
        ]
    for name in names:
        path = f"/usr/local/etc/ezjail/{name}"
        if process.stat(path) != "file":
            process.out(f" Warning: Jail {name} not found.\n")
            continue
        yield name, variables(process.read_text(path))
