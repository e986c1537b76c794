"""service(8) and the rc.d scripts behind it: rc.d/jail with its logic, others as daemons with a pid file.

/bin/sh /etc/rc and /etc/rc.shutdown inside a jail end up here too (``rc_start`` and ``rc_shutdown``).
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from jails.hosts.simulated import clock, listening, prison, rcconf
from jails.hosts.simulated.world import World

from . import kld

PREFIXES = ("fast", "force", "one", "quiet", "quietone")
# Base system daemons: name -> (command, arguments, pid file).
DAEMONS = {
    "cron": ("/usr/sbin/cron", "-s", "/var/run/cron.pid"),
    "inetd": ("/usr/sbin/inetd", "-wW -C 60", "/var/run/inetd.pid"),
    "ntpd": ("/usr/sbin/ntpd", "-p /var/db/ntp/ntpd.pid -c /etc/ntp.conf", "/var/db/ntp/ntpd.pid"),
    "powerd": ("/usr/sbin/powerd", "", "/var/run/powerd.pid"),
    "sendmail": ("/usr/sbin/sendmail", "-L sm-mta -bd -q30m", "/var/run/sendmail.pid"),
    "sshd": ("/usr/sbin/sshd", "", "/var/run/sshd.pid"),
    "syslogd": ("/usr/sbin/syslogd", "-s", "/var/run/syslog.pid"),
}
# Scripts that run once and leave nothing behind.
ONCE = (
    "bgfsck cleanvar devfs dmesg gptboot hostid hostid_save hostname ip6addrctl kldxref mixer motd netif newsyslog pf "
    "pflog rctl resolv routing sysctl virecover zfs zfsbe zvol"
).split()
ALWAYS = ("hostname", "netif", "routing", "resolv")
"""Scripts that ask for no variable (no `rcvar` in them), but for those that start nothing."""
EXTRA = {
    "jail": "config console status",
    "netif": "cloneup clear vnetup vnetdown",
    "routing": "options static",
    "sshd": "configtest keygen reload",
    "pf": "check reload resync",
    "syslogd": "reload",
    "devfs": "",
}
"""What scripts know besides the usual (extra_commands in /etc/rc.d of 12.1)."""
# What `service -e` goes through, in rcorder(8)'s order: name, the variable that enables it (none: always on) and its
# default, whether jails have it.
RCORDER = (
    ("hostid", "hostid_enable", "YES", False),
    ("zvol", "zfs_enable", "NO", False),
    ("hostid_save", "hostid_enable", "YES", False),
    ("zfsbe", "zfs_enable", "NO", False),
    ("zfs", "zfs_enable", "NO", False),
    ("cleanvar", "cleanvar_enable", "YES", True),
    ("kldxref", "kldxref_enable", "YES", False),
    ("ip6addrctl", "ip6addrctl_enable", "YES", True),
    ("netif", "", "", True),
    ("resolv", "resolv_enable", "YES", False),
    ("pf", "pf_enable", "NO", False),
    ("pflog", "pflog_enable", "NO", False),
    ("newsyslog", "newsyslog_enable", "YES", True),
    ("syslogd", "syslogd_enable", "YES", True),
    ("virecover", "virecover_enable", "YES", True),
    ("dmesg", "dmesg_enable", "YES", False),
    ("motd", "update_motd", "YES", True),
    ("rctl", "rctl_enable", "YES", False),
    ("ntpd", "ntpd_enable", "NO", False),
    ("sshd", "sshd_enable", "NO", True),
    ("sendmail", "sendmail_enable", "YES", True),
    ("cron", "cron_enable", "YES", True),
    ("inetd", "inetd_enable", "NO", True),
    ("powerd", "powerd_enable", "NO", False),
    ("jail", "jail_enable", "NO", False),
    ("mixer", "mixer_enable", "YES", False),
    ("gptboot", "gptboot_enable", "YES", False),
    ("bgfsck", "background_fsck", "YES", False),
)
ORDER = ("ip6addrctl", "netif", "newsyslog", "syslogd", "sshd", "ntpd", "cron", "sendmail", "inetd", "powerd")


def main(caller: Any) -> int:
    process = World(caller)
    words = list(process.argv[1:])
    jail = None
    verbose = False
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "-j" and words:
            jail = words.pop(0)
        elif word in ("-e", "-l", "-r", "-R"):
            return _listing(process, word)
        elif word == "-v":
            verbose = True
        else:
            return _usage(process)
    del verbose
    if jail is not None:
        return int(process.run(["jexec", "-l", jail, "/usr/sbin/service", *words]))
    if not words:
        return _usage(process)
    return script(process, words[0], words[1] if len(words) > 1 else "", words[2:])


def _usage(process: Any) -> int:
    process.err(
        "Usage: service [-j <jail name or id>] -e\n"
        "       service [-j <jail name or id>] -R\n"
        "       service [-j <jail name or id>] [-v] -l | -r\n"
        "       service [-j <jail name or id>] [-v] <rc.d script> start|stop|etc.\n"
        "       service -h\n"
    )
    return 1


def _read(process: Any) -> rcconf.Read:
    def read(path: str) -> str | None:
        try:
            return process.read_text(path)  # type: ignore[no-any-return]
        except OSError:
            return None

    return read


def local_scripts(process: Any) -> list[str]:
    try:
        return sorted(process.listdir("/usr/local/etc/rc.d"))
    except OSError:
        return []


def exists(process: Any, name: str) -> str | None:
    """The path of a service's script, or None."""
    if name in DAEMONS or name in ONCE or name == "jail":
        return f"/etc/rc.d/{name}"
    return f"/usr/local/etc/rc.d/{name}" if name in local_scripts(process) else None


def enabled(variables: dict[str, str], name: str) -> bool:
    if name == "sendmail":
        return variables.get("sendmail_enable", "NO").upper() not in ("NO", "NONE")
    if name in ("devfs", "jail.sh"):  # the latter is of the old kind, which rc(8) asks no variable for
        return True
    return rcconf.yes(variables.get(f"{name}_enable", "NO"))


def _listing(process: Any, option: str) -> int:
    local = local_scripts(process)
    variables = rcconf.load(_read(process))
    if option == "-e":
        names = [name for name, variable, default, _ in RCORDER if _listed(process, variables, name, variable, default)]
        names += [name for name in local if enabled(variables, name)]
        process.out("".join(f"{exists(process, name)}\n" for name in names))
    else:
        names = [*ORDER, *ONCE, "jail", *local]
        process.out("".join(f"{name}\n" for name in sorted(set(names))))
    return 0


def _listed(process: Any, variables: dict[str, str], name: str, variable: str, default: str) -> bool:
    """What counts as enabled for `service -e`: sendmail is unless it is NONE, since then its submission agent is."""
    if process.jid and not next(row[3] for row in RCORDER if row[0] == name):
        return False
    if name == "sendmail":
        return variables.get("sendmail_enable", "").upper() != "NONE" or bool(process.jid)
    return not variable or rcconf.yes(variables.get(variable, default))


def script(process: Any, name: str, action: str, words: list[str]) -> int:
    """``/etc/rc.d/NAME ACTION``."""
    path = exists(process, name)
    if path is None:
        process.out(
            f"{name} does not exist in /etc/rc.d or the local startup\n"
            "directories (/usr/local/etc/rc.d), or is not executable\n"
        )
        return 1
    prefix = next((p for p in sorted(PREFIXES, key=len, reverse=True) if action.startswith(p)), "")
    verb = action[len(prefix) :]
    variables = rcconf.load(_read(process), service=name)
    if not verb:
        return _script_usage(process, path, name)
    if verb == "extracommands":
        process.out(EXTRA.get(name, "") + "\n")
        return 0
    if name in ALWAYS:
        return _always(process, name, verb, path)
    if verb in ("start", "stop", "restart", "status", "reload") and not prefix and not enabled(variables, name):
        process.out(
            f"Cannot '{verb}' {name}. Set {name}_enable to YES in /etc/rc.conf "
            f"or use 'one{verb}' instead of '{verb}'.\n"
        )
        return 0
    if verb in ("enable", "disable", "enabled", "rcvar", "describe", "delete"):
        return _common(process, name, verb, variables)
    if name == "jail":
        return _Jail(process, variables).do(verb, words, path)
    if name in ("iocage", "iocell", "ezjail", "bastille", "appjail", "cbsdd", "pot", "jail.sh"):
        return _foreign(process, name, verb, words, variables, path)
    if name in ONCE:
        return _once(process, name, verb, path)
    return _daemon(process, name, verb, variables, path)


def _common(process: Any, name: str, verb: str, variables: dict[str, str]) -> int:
    variable = f"{name}_enable"
    if verb == "enabled":
        return 0 if enabled(variables, name) else 1
    if verb == "rcvar":
        value = variables.get(variable, "NO")
        title = "Manage system jails" if name == "jail" else ""
        process.out(f'# {name}{" : " + title if title else ""}\n#\n{variable}="{value}"\n#   (default: "")\n\n')
        return 0
    if verb == "describe":
        process.out("Manage system jails\n" if name == "jail" else f"{name}\n")
        return 0
    if verb == "delete":
        return int(process.run(["sysrc", "-x", variable]))
    value = "YES" if verb == "enable" else "NO"
    status = process.run_quietly(["sysrc", f"{variable}={value}"])
    process.out(f"{name} {verb}d in /etc/rc.conf\n")
    return int(status)


def _unknown(process: Any, path: str, verb: str, extra: str) -> int:
    process.err(f"{path}: unknown directive '{verb}'.\n{_words(path, extra)}")
    return 1


def _words(path: str, extra: str) -> str:
    return (
        f"Usage: {path} [fast|force|one|quiet](start|stop|restart|rcvar|enable|disable|delete|enabled|describe"
        f"|extracommands{extra})\n"
    )


def _script_usage(process: Any, path: str, name: str) -> int:
    """A script without a word (rc_usage in rc.subr)."""
    extra = "".join(f"|{word}" for word in EXTRA.get(name, "").split())
    process.err(_words(path, extra + ("|status|poll" if name == "jail" or name in DAEMONS else "")))
    return 1


def _always(process: Any, name: str, verb: str, path: str) -> int:
    """Scripts that ask no variable of rc.conf(5); rc.d/hostname tells the name it sets."""
    if verb not in ("start", "stop", "restart", "rcvar", "describe"):
        return _unknown(process, path, verb, "".join(f"|{word}" for word in EXTRA.get(name, "").split()))
    if name == "hostname" and verb in ("start", "restart"):
        wanted = rcconf.load(_read(process)).get("hostname", "")
        if wanted:
            process.out(f"Setting hostname: {wanted}.\n")
            return int(process.run(["hostname", wanted]))
    return 0


def _foreign(process: Any, name: str, verb: str, words: list[str], variables: dict[str, str], path: str) -> int:
    """The script of another jail manager; ezjail's leaves the work to rc.d/jail."""
    from . import foreign

    if name != "ezjail":
        return foreign.rc_script(process, name, verb, words)
    if not words:
        process.out(" ezjail")
    chosen = []
    for jail, own in foreign.ezjail_jails(process, words, verb):
        variables |= own
        chosen.append(jail)
    return _Jail(process, variables).do(verb, chosen, path) if chosen else 0


def _once(process: Any, name: str, verb: str, path: str) -> int:
    if name == "pf" and verb == "status":
        return int(process.run(["pfctl", "-s", "info"]))
    if verb not in ("start", "stop", "restart", "reload", "check") or (name != "pf" and verb in ("reload", "check")):
        return _unknown(process, path, verb, "")
    if name == "pf" and verb != "stop" and process.stat("/etc/pf.conf") is None:
        process.err("/etc/rc.d/pf: WARNING: /etc/pf.conf is not readable.\n")
        return 1
    if name == "pf":
        process.out({"start": "Enabling pf.\n", "stop": "Disabling pf.\n"}.get(verb, "Reloading pf rules.\n"))
        if verb != "stop" and process.stat("/etc/pf.os") is None:
            process.err("pfctl: /etc/pf.os: No such file or directory\n")
        with process.host.changing() as state:
            kld.load(state, "pf")
            state.setdefault("pf", {})["enabled"] = verb != "stop"
    return 0


def _pid_file(name: str) -> str:
    return DAEMONS[name][2] if name in DAEMONS else f"/var/run/{name}.pid"


def _running(process: Any, name: str) -> int | None:
    return process.daemon_pid(name)  # type: ignore[no-any-return]


def _daemon(process: Any, name: str, verb: str, variables: dict[str, str], path: str) -> int:
    pid = _running(process, name)
    if verb == "status":
        process.out(f"{name} is running as pid {pid}.\n" if pid else f"{name} is not running.\n")
        return 0 if pid else 1
    if verb == "start":
        return _start(process, name, variables, pid)
    if verb == "stop":
        return _stop(process, name, pid)
    if name == "sshd" and verb in ("configtest", "reload", "restart") and (status := _sane(process)):
        return status
    if name == "sshd" and verb == "configtest":
        return 0
    if verb in ("restart", "reload"):
        if verb == "reload" and not pid:
            process.err(f"{name} not running? (check {_pid_file(name)}).\n")
            return 1
        if verb == "restart":
            _stop(process, name, pid)
            return _start(process, name, variables, None)
        if name == "sshd":
            process.listen_anew(name, _listens(process, name, ""))
        return 0
    return _unknown(process, path, verb, "|status|poll")


def _start(process: Any, name: str, variables: dict[str, str], pid: int | None) -> int:
    if pid:
        process.err(f"{name} already running? (pid={pid}).\n")
        return 1
    command, arguments, _ = DAEMONS.get(name, (f"/usr/local/sbin/{name}", "", ""))
    if process.jid and name in DAEMONS and process.stat(command) is None and process.stat("/usr/sbin") is None:
        process.err(f"/etc/rc.d/{name}: WARNING: failed to start {name}\n")
        return 1
    process.out(f"Starting {name}.\n")
    flags = variables.get(f"{name}_flags", arguments)
    if name == "syslogd" and "-ss" not in flags and not _has_address(process):
        process.err(f"/etc/rc.d/{name}: WARNING: failed to start {name}\n")
        return 1
    pid = process.start_daemon(name, " ".join(filter(None, [command, flags])), _listens(process, name, flags))
    if not pid:
        process.err(f"/etc/rc.d/{name}: WARNING: failed to start {name}\n")
        return 1
    with contextlib.suppress(OSError):  # a tree without /var/run: the daemon runs all the same
        process.write_text(_pid_file(name), f"{pid}\n")
    if name == "ntpd" and not process.jid and ("-g" in flags or rcconf.yes(variables.get("ntpd_sync_on_start", "NO"))):
        with process.host.changing() as state:
            state.pop("skew", None)
    return 0


def _listens(process: Any, name: str, flags: str) -> list[listening.Wanted]:
    read = _read(process)
    return listening.wanted(name, flags, lambda path: read(path) or "")


def _sane(process: Any) -> int:
    """sshd_configtest of rc.d/sshd."""
    process.out("Performing sanity check on sshd configuration.\n")
    return int(process.run(["/usr/sbin/sshd", "-t"]))


def _has_address(process: Any) -> bool:
    """Whether there is an address to bind to: a jail without any cannot open a socket of the internet."""
    if not process.jid:
        return True
    with process.host.reading() as state:
        jail = prison.by_jid(state, process.jid)
    given = jail["set"] if jail else {}
    if given.get("vnet") == "new":
        return True
    return any(given.get(f"{one}.addr") or given.get(one) == "inherit" for one in ("ip4", "ip6"))


def _stop(process: Any, name: str, pid: int | None) -> int:
    if not pid:
        process.err(f"{name} not running? (check {_pid_file(name)}).\n")
        return 1
    process.out(f"Stopping {name}.\n")
    process.stop_daemon(name)
    process.out(f"Waiting for PIDS: {pid}.\n")
    process.unlink(_pid_file(name))
    return 0


class _Jail:
    def __init__(self, process: Any, variables: dict[str, str]) -> None:
        self.process = process
        self.variables = variables
        self.conf = variables.get("jail_conf") or "/etc/jail.conf"
        self.warned = False

    def do(self, verb: str, words: list[str], path: str) -> int:
        named = bool(words)
        names = words or self.variables.get("jail_list", "").split() or ["_ALL"]
        if verb == "status":
            return int(self.process.run(["jls", "-N"]))
        if verb == "start":
            return self._start(names)
        reverse = rcconf.yes(self.variables.get("jail_reverse_stop", "NO")) and not named
        if verb == "stop":
            return self._stop(names, reverse)
        if verb == "restart":
            self._stop(names, reverse)
            return self._start(names)
        if verb == "config":
            return self._config(names)
        return _unknown(self.process, path, verb, "|config|console|status|status|poll")

    def _legacy(self, name: str) -> str | None:
        """The file that rc.d/jail makes of a jail's variables; they go before any file of its own."""
        variable = rcconf.variable_of(name)
        if not (self.variables.get(f"jail_{variable}_rootdir") and self.variables.get(f"jail_{variable}_hostname")):
            return None
        from jails.freebsd import jailconf
        from jails.freebsd.foreign import Evidence, legacy

        fstab = self.variables.get(f"jail_{variable}_fstab") or f"/etc/fstab.{name}"
        files = {fstab: ""} if self.process.stat(fstab) == "file" else {}
        parameters, problems = legacy.legacy_parameters(Evidence(files), self.variables, name)
        if problems:
            self.process.err("/etc/rc.d/jail: WARNING: devfs_ruleset must be an integer.\n")
        path = f"/var/run/jail.{name}.conf"
        if self.process.stat(self.conf) == "file":
            self.process.err(f"/etc/rc.d/jail: WARNING: {path} is created and used for jail {name}.\n")
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(clock.now()))
        header = f"Generated by rc.d/jail at {made}"
        self.process.write_text(path, jailconf.render_jail(name, parameters, header=header))
        self.warned = True
        return path

    def _title(self, name: str) -> str:
        """What rc.d/jail says while it starts or stops a jail: the hostname, where variables give one."""
        variable = rcconf.variable_of(name)
        root = self.variables.get(f"jail_{variable}_rootdir")
        return (root and self.variables.get(f"jail_{variable}_hostname")) or name

    def _conf_of(self, name: str) -> str | None:
        if made := self._legacy(name):
            return made
        variable = rcconf.variable_of(name)
        candidates = [self.variables.get(f"jail_{variable}_conf") or f"/etc/jail.{name}.conf"]
        if self.process.release_at_least(12, 2):
            candidates.append(f"/etc/jail.conf.d/{name}.conf")
        candidates.append(self.conf)
        return next((path for path in candidates if self.process.stat(path) == "file"), None)

    def _jid(self, name: str) -> int | None:
        with self.process.host.reading() as state:
            try:
                return int(prison.get(state, name)["jid"])
            except prison.JailError:
                return None

    def _usable(self, name: str) -> str | None:
        conf = self._conf_of(name)
        if conf is None:
            self.process.err(
                f"/etc/rc.d/jail: WARNING: Invalid configuration for {name} (no jail.conf, no hostname, or no path).  "
                f"Jail {name} was ignored.\n"
            )
        return conf

    def _flags(self, name: str) -> list[str]:
        own = self.variables.get(f"jail_{rcconf.variable_of(name)}_flags")
        return (own or self.variables.get("jail_flags", "")).split()

    def _start(self, names: list[str]) -> int:
        out = self.process.out
        out("Starting jails:")
        if names[0] == "_ALL":
            serial = [] if rcconf.yes(self.variables.get("jail_parallel_start", "NO")) else ["-p1"]
            status, text = self.process.captured(["jail", *self._flags(""), "-f", self.conf, "-c", *serial])
            if status == 0:
                with self.process.host.reading() as state:
                    running = [(row["name"], row["jid"]) for row in prison.all_prisons(state)]
                for name, jid in running:
                    out(f" {name}")
                    self._remember(name, jid)
            else:
                out(text)
            out(".\n")
            return 0
        for name in names:
            name = name.replace(".", "_").replace("/", "_")
            if (conf := self._usable(name)) is None:
                continue
            status, text = self.process.captured(["jail", *self._flags(name), "-i", "-f", conf, "-c", name])
            if status:
                out(f' cannot start jail  "{self._title(name)}": \n{text}')
                continue
            out(f" {self._title(name)}")
            jid = self._jid(name)
            if jid is None:
                self.process.err(f'jls: jail "{name}" not found\n')
            self._remember(name, jid)
        out(".\n")
        if self.warned:
            self.process.flush()
            self.process.err(
                "/etc/rc.d/jail: WARNING: Per-jail configuration via jail_* variables  is obsolete.  "
                f"Please consider migrating to {self.conf}.\n"
            )
        return 0

    def _remember(self, name: str, jid: int | None) -> None:
        if "/" not in name:
            self.process.write_text(f"/var/run/jail_{name}.id", f"{jid or ''}\n")

    def _stop(self, names: list[str], reverse: bool) -> int:
        out = self.process.out
        out("Stopping jails:")
        if names[0] == "_ALL":
            with self.process.host.reading() as state:
                running = [row["name"] for row in prison.all_prisons(state)]
            for name in running[::-1] if reverse else running:
                out(f" {name}")
                self._end(name, ["jail", *self._flags(""), "-f", self.conf, "-r", name])
            out(".\n")
            return 0
        for name in names[::-1] if reverse else names:
            name = name.replace(".", "_").replace("/", "_")
            if (conf := self._usable(name)) is None or self._jid(name) is None:
                continue
            out(f" {self._title(name)}")
            self._end(name, ["jail", "-q", "-f", conf, "-r", name])
        out(".\n")
        return 0

    def _end(self, name: str, argv: list[str]) -> None:
        _, text = self.process.captured(argv)
        if self._jid(name) is not None:
            self.process.out(text)
        else:
            self.process.unlink(f"/var/run/jail_{name}.id")

    def _config(self, names: list[str]) -> int:
        if names[0] == "_ALL":
            return 0
        for name in names:
            conf = self._usable(name)
            if conf is not None:
                self.process.out(f"{conf}\n")
        return 0


def etc_rc(process: Any) -> int:
    """What /etc/rc and /etc/rc.shutdown of a simulated tree call."""
    return rc_shutdown(process) if process.argv[1:] == ["stop"] else rc_start(process)


def rc_start(caller: Any) -> int:
    """``/bin/sh /etc/rc``: start what the tree's rc.conf enables, saying what rc says."""
    process = World(caller)
    variables = rcconf.load(_read(process))
    out = process.out
    out("ELF ldconfig path: /lib /usr/lib\n32-bit compatibility ldconfig path:\n")
    if process.jid and (hostname := variables.get("hostname")):
        process.run_quietly(["hostname", hostname])
    out("Creating and/or trimming log files.\n")
    for name in [*ORDER, *local_scripts(process)]:
        if name in ONCE or not enabled(variables, name):
            continue
        if name == "sshd" and process.stat("/etc/ssh") == "dir" and process.stat("/etc/ssh/ssh_host_rsa_key") is None:
            process.run_quietly(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", "/etc/ssh/ssh_host_rsa_key"])
        _start(process, name, variables, _running(process, name))
    out("Clearing /tmp (X related).\nUpdating motd:.\nUpdating /var/run/os-release done.\n\n")
    out(time.strftime("%a %b %e %H:%M:%S UTC %Y\n", time.gmtime(clock.now())))
    return 0


def rc_shutdown(caller: Any) -> int:
    """``/bin/sh /etc/rc.shutdown``: stop what runs, in the reverse order."""
    process = World(caller)
    for name in [*ORDER, *local_scripts(process)][::-1]:
        if name not in ONCE and _running(process, name):
            process.stop_daemon(name)
            process.unlink(_pid_file(name))
    process.out(".\n")
    process.err("Terminated\n")
    return 0
