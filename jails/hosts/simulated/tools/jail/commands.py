"""The commands of one jail, in their order, forth or back (usr.sbin/jail/command.c)."""

from __future__ import annotations

import re
import time

from jails.hosts.simulated import prison
from jails.hosts.simulated.world import TIMED_OUT

from .conf import FAILED, PERSIST, STOP, ConfJail
from .parameters import Parameters

START_COMMANDS = (
    "exec.prepare",
    "_ip4",
    "_ip6",
    "mount",
    "_fstab",
    "mount.devfs",
    "mount.fdescfs",
    "mount.procfs",
    "exec.prestart",
    "_op",
    "exec.created",
    "vnet.interface",
    "exec.start",
    "command",
    "exec.poststart",
)
STOP_COMMANDS = (
    "exec.prestop",
    "exec.stop",
    "stop.timeout",
    "_op",
    "exec.poststop",
    "mount.procfs",
    "mount.fdescfs",
    "mount.devfs",
    "_fstab",
    "mount",
    "_ip6",
    "_ip4",
    "exec.release",
)
NOT_UNDONE = {"exec.prepare", "exec.prestart", "exec.created", "exec.start", "command", "exec.poststart"}
REVERSED_ON_STOP = {"mount", "_fstab", "_ip4", "_ip6"}
IN_JAIL = {"exec.start", "command", "exec.stop"}
SINCE_13 = {"exec.prepare", "exec.release"}
SHELL_CHARACTERS = re.compile(r"""[!"$&'()*;<>?\[\\\]`{|}~]""")


class Commands(Parameters):
    """Runs what creating or removing a jail consists of."""

    def _begin(self, jail: ConfJail, commands: tuple[str, ...]) -> None:
        modern = prison.version(self.release)[0] >= 13
        jail.commands = tuple(name for name in commands if modern or name not in SINCE_13)
        jail.begun, jail.position, jail.queue_of_command = True, -1, None

    def _next_command(self, jail: ConfJail) -> bool:
        """Run commands up to the next process. False when there are none left."""
        undoing = jail.flags & (STOP | FAILED) == FAILED
        while True:
            if jail.queue_of_command is None:
                jail.position += -1 if undoing else 1
                if not 0 <= jail.position < len(jail.commands):
                    return False
                values = self._strings(jail)
                if values is None:
                    continue
                backwards = undoing or (jail.flags & STOP and jail.commands[jail.position] in REVERSED_ON_STOP)
                jail.queue_of_command = values
                jail.at = len(values) - 1 if backwards else 0
            else:
                backwards = undoing or (jail.flags & STOP and jail.commands[jail.position] in REVERSED_ON_STOP)
                jail.at += -1 if backwards else 1
            if not 0 <= jail.at < len(jail.queue_of_command):
                jail.queue_of_command = None
                continue
            name = jail.commands[jail.position]
            if jail.queue_of_command[jail.at] == "" or (undoing and name in NOT_UNDONE):
                continue
            result = self._run(jail, name, jail.queue_of_command[jail.at])
            if result == "failed":
                self._failed(jail)
                return True
            if result in ("process", "failing process"):
                # With -p 1 no other jail gets its turn while this one's commands run; what cannot even be executed
                # ends before the programs of the others.
                queue = self.ready if self.one_at_a_time else self.sleeping
                self._queue(jail, queue, head=self.one_at_a_time or result == "failing process")
                return True

    def _strings(self, jail: ConfJail) -> list[str] | None:
        name = jail.commands[jail.position]
        if name in ("_op", "stop.timeout"):
            return ["."]
        if name in ("mount.devfs", "mount.fdescfs", "mount.procfs"):
            return ["."] if jail.true(name) else None
        if name.startswith("_"):
            return jail.internal.get(name)
        found = jail.find(name)
        if found and name == "command" and jail.name is None:
            return ["."]
        return found[1] if found else None

    def _run(self, jail: ConfJail, name: str, value: str) -> str:
        down = bool(jail.flags & (STOP | FAILED))
        if name == "_op":
            return self._operate(jail, down)
        if name == "stop.timeout":
            return self._terminate(jail)
        if name in ("_ip4", "_ip6"):
            argv = self._address_command(jail, name, value, down)
        elif name == "vnet.interface":
            which = jail.text("jid") or jail.text("name") or str(jail.jid)
            argv = ["/sbin/ifconfig", value, "-vnet" if down else "vnet", which]
        elif name in ("mount", "_fstab"):
            argv = self._mount_command(jail, name, value, down) or []
        elif name.startswith("mount."):
            argv = self._device_mount(jail, name, down) or []
        elif name == "command" and jail.name is None:
            argv = list((jail.find("command") or ("", []))[1])
        else:
            return self._hook(jail, name, value)
        if not argv:
            return "failed" if not (name in ("mount", "_fstab") and not value.split()) else "done"
        return self._spawn(jail, name, argv, background=False)

    def _operate(self, jail: ConfJail, down: bool) -> str:
        if not down:
            if not self._create(jail):
                return "failed"
            self.process.middle()
            if self.print_jid:
                self.process.out(f"{jail.jid}\n")
            if self.verbose >= 0 and (jail.name or self.verbose > 0):
                self._note(jail, "created\n")
            self._settled(jail, light=True)
            return "done"
        self.process.remove_jail(jail.jid)
        spoken = self.note_remove if jail.flags & STOP else jail.name is not None
        if self.verbose > 0 or (self.verbose == 0 and spoken):
            self._note(jail, "removed\n")
        jail.jid = -1
        if jail.flags & STOP:
            self._settled(jail, light=True)
        else:
            jail.flags &= ~PERSIST
        return "done"

    def _terminate(self, jail: ConfJail) -> str:
        """term_procs(): ask the jail's processes to end, and wait for them for a while."""
        timeout = jail.number("stop.timeout")
        if timeout == 0:
            return "done"
        pids = self.process.terminate_jail(jail.jid)
        if pids and self.verbose > 0:
            self._note(jail, f"sent SIGTERM to: {' '.join(map(str, pids))}\n")
        deadline = time.monotonic() + (10 if timeout is None else timeout)
        while pids and time.monotonic() < deadline and self.process.jail_processes(jail.jid):
            time.sleep(0.02)
        return "done"

    def _address_command(self, jail: ConfJail, name: str, value: str, down: bool) -> list[str]:
        interface, bar, address = value.partition("|")
        if not bar:
            interface, address = jail.text("interface") or "", value
        address, *extra = address.split()
        family = "inet" if name == "_ip4" else "inet6"
        argv = ["/sbin/ifconfig", interface, family]
        plain, slash, mask = address.partition("/")
        if not slash:
            argv += [plain, "netmask", "255.255.255.255"] if family == "inet" else [plain, "prefixlen", "128"]
        elif "." in mask:
            argv += [plain, "netmask", mask]
        else:
            argv += [address]
        return [*argv, *extra, "-alias" if down else "alias"]

    def _mount_command(self, jail: ConfJail, name: str, value: str, down: bool) -> list[str] | None:
        words = value.split()[:4]
        if not words:
            return None
        label = "mount" if name == "mount" else "mount.fstab"
        if len(words) < 3:
            self._warn(jail, f"{label}: {value}: missing information")
            return None
        if not self._path_fits(jail, label, words[1], words[2] if down else None):
            return None
        if down:
            return ["/sbin/umount", "-t", words[2], words[1]]
        options = ["-o", words[3]] if len(words) == 4 else []
        return ["/sbin/mount", "-t", words[2], *options, words[0], words[1]]

    def _device_mount(self, jail: ConfJail, name: str, down: bool) -> list[str] | None:
        path = jail.text("path")
        if path is None:
            self._warn(jail, f"{name}: no jail root path defined")
            return None
        kind = name.partition(".")[2]
        place = path.rstrip("/") + {"devfs": "/dev", "fdescfs": "/dev/fd", "procfs": "/proc"}[kind]
        if not self._path_fits(jail, name, place, kind if down else None):
            return None
        if down:
            return ["/sbin/umount", place]
        if kind != "devfs":
            return ["/sbin/mount", "-t", kind, ".", place]
        return ["/sbin/mount", "-t", "devfs", f"-oruleset={jail.text('devfs_ruleset') or '4'}", ".", place]

    def _path_fits(self, jail: ConfJail, label: str, path: str, unmounting: str | None) -> bool:
        """check_path(): below the jail's root nothing may be a symbolic link; the place must be there."""
        if not path.startswith("/"):
            self._warn(jail, f"{label}: {path}: not an absolute pathname")
            return False
        root = (jail.text("path") or "").rstrip("/")
        if root and path.startswith(root + "/"):
            done = root
            for part in filter(None, path[len(root) :].split("/")):
                done += "/" + part
                if self.process.lstat(done) == "link":
                    self._warn(jail, f"{label}: {done} is a symbolic link")
                    return False
        if unmounting is not None:
            kind = self.process.mounted_type(path)
            if kind is None:
                self._warn(jail, f"{label}: {path}: not a mount point")
                return False
            if kind != unmounting:
                self._warn(jail, f"{label}: {path}: not a {unmounting} mount")
                return False
            return True
        found = self.process.stat(path)
        if label == "exec.consolelog":
            return True
        if found != "dir" and not (found == "file" and label in ("mount", "mount.fstab")):
            self._warn(jail, f"{label}: {path}: {'Not a directory' if found else 'No such file or directory'}")
            return False
        return True

    def _hook(self, jail: ConfJail, name: str, value: str) -> str:
        """A command of the configuration: by the shell only if it has characters for one."""
        found = SHELL_CHARACTERS.search(value)
        if found and not (found[0] == "&" and found.end() == len(value)):
            return self._spawn(jail, name, ["/bin/sh", "-c", value], background=False)
        argv = (value[:-1] if found else value).split()
        return self._spawn(jail, name, argv, background=bool(found)) if argv else "done"

    def _spawn(self, jail: ConfJail, name: str, argv: list[str], *, background: bool) -> str:
        inside = name in IN_JAIL
        line = " ".join(argv)
        user = jail.text("exec.jail_user" if inside else "exec.system_user")
        if self.verbose > 0:
            where = " in jail" if inside else ""
            self._note(jail, f"run command{where}{' as ' + user if user else ''}: {line}\n")
        consolelog = jail.text("exec.consolelog") if inside else None
        if consolelog and not self._path_fits(jail, "exec.consolelog", consolelog, None):
            return "failed"
        missing: list[str] = []

        def warn(text: str) -> None:
            missing.append(text)
            self._warn(jail, text)

        started = self.process.spawn(
            argv,
            jid=jail.jid if inside else None,
            user=user,
            clean=jail.true("exec.clean"),
            system_user=jail.true("exec.system_jail_user"),
            output=consolelog,
            background=background,
            timeout=jail.number("exec.timeout") or None,
            warn=warn,
        )
        if background:
            return "done"
        jail.outcome = (started, line)
        return "failing process" if missing else "process"

    def _finish(self, jail: ConfJail) -> bool:
        """finish_command(): what the process made of it."""
        status, line = jail.outcome or (0, "")
        jail.outcome = None
        if status == 0:
            return True
        if status == TIMED_OUT:
            self._warn(jail, f"{line}: timed out")
        elif status < 0:
            self._warn(jail, f"{line}: exited on signal {-status}")
        else:
            self._warn(jail, f"{line}: failed")
        self._failed(jail)
        return False
