"""The table of jail(8) parameters: what each one takes, whether it changes on a running jail, and who may set it.

Sources: jail(8), jail.conf(5), and for what can change the sysctl declarations in sys/kern/kern_jail.c, where
CTLFLAG_RDTUN marks what is fixed once the jail is created. Which parameters a host really has depends on its release
and its kernel modules: ask it (`sysctl -d security.jail.param`) before relying on `since` or `module` here.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from jails.freebsd import names

Value = str | int | bool | None | Sequence[str]


class Kind(Enum):
    """What a value is. Lists of it are marked by `Parameter.many`."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    CHOICE = "choice"
    STRING = "string"
    HOSTNAME = "hostname"
    PATH = "path"
    IP4 = "IPv4 address"
    IP6 = "IPv6 address"
    INTERFACE = "interface"
    JAIL = "jail"
    DATASET = "dataset"
    COMMAND = "command"
    FSTAB = "fstab line"
    USER = "user"


class Change(Enum):
    """What it takes for a new value to hold on a running jail."""

    LIVE = "live"
    """`jail -m` changes it at once."""
    FILE = "file"
    """It is read when the jail next starts or stops: writing the file is enough and safe."""
    RESTART = "restart"
    """Stop with the old file, write, start: fixed after creation, or stopping has to undo what starting did."""
    NEVER = "never"
    """The kernel reports it, or gives it; nobody sets it."""


class Setter(IntEnum):
    """Who may set it, at least. Only administrators widen a jail."""

    TENANT = 1
    OPERATOR = 2
    ADMINISTRATOR = 3
    NOBODY = 4


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; `default` is what jail(8) or the kernel does without it, for people to read.

    `since` is the first release known to have it, (13, 0), or None where 12.1 has it; `module` the kernel module that
    brings it. `why` says where it is from that a change needs a restart.
    """

    name: str
    kind: Kind
    help: str
    default: str = ""
    change: Change = Change.LIVE
    setter: Setter = Setter.ADMINISTRATOR
    many: bool = False
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 2**31 - 1
    since: tuple[int, int] | None = None
    module: str | None = None
    pseudo: bool = False
    why: str = ""
    man: str = "jail(8)"


RDTUN = "fixed after creation: CTLFLAG_RDTUN in kern_jail.c"
UNDONE = "undone by jail -r as the file then says: stop with the old file first"
JAILSYS = ("disable", "inherit", "new")


def _allow(
    name: str, help: str, *, on: bool = False, since: tuple[int, int] | None = None, module: str | None = None
) -> Parameter:
    return Parameter(f"allow.{name}", Kind.BOOLEAN, help, default="true" if on else "false", since=since, module=module)


def _mounting(filesystem: str, since: tuple[int, int] | None = None) -> Parameter:
    return _allow(
        f"mount.{filesystem}",
        f"Root in the jail may mount {filesystem}; needs allow.mount and enforce_statfs below 2.",
        since=since,
        module=filesystem,
    )


def _hook(name: str, when: str, *, where: str = "host", since: tuple[int, int] | None = None) -> Parameter:
    paired = where == "host"
    return Parameter(
        f"exec.{name}",
        Kind.COMMAND,
        f"Command lines for sh(1), run {'on the host' if paired else 'inside the jail'} {when}.",
        change=Change.RESTART if paired else Change.FILE,
        many=True,
        since=since,
        pseudo=True,
        why=UNDONE if paired else "",
    )


def _family(version: int) -> list[Parameter]:
    kind = Kind.IP4 if version == 4 else Kind.IP6
    return [
        Parameter(
            f"ip{version}",
            Kind.CHOICE,
            f"Which IPv{version} addresses the jail may use: its own (new), all of the host (inherit) or none.",
            default="disable",
            change=Change.RESTART,
            choices=JAILSYS,
            why=RDTUN,
        ),
        Parameter(
            f"ip{version}.addr",
            kind,
            f"The jail's IPv{version} addresses, as address, address/prefix or interface|address/prefix.",
            change=Change.RESTART,
            setter=Setter.OPERATOR,
            many=True,
            why="jail -m changes the jail's list, but not the aliases on the interface; those " + UNDONE,
        ),
        Parameter(
            f"ip{version}.saddrsel",
            Kind.BOOLEAN,
            "Choose the source address that fits the destination; without it always the jail's first address.",
            default="true",
            setter=Setter.OPERATOR,
        ),
    ]


def _table() -> Iterable[Parameter]:
    yield Parameter(
        "jid",
        Kind.INTEGER,
        "The number the kernel gives to a running jail; another one at every start.",
        change=Change.NEVER,
        setter=Setter.NOBODY,
        why=RDTUN,
    )
    yield Parameter(
        "name",
        Kind.JAIL,
        "The jail's name; in jail.conf it is the name of the block.",
        change=Change.RESTART,
        setter=Setter.OPERATOR,
        why="jail -m renames it, but file, boot list and limits still know the old name",
    )
    yield Parameter("path", Kind.PATH, "The directory that is the jail's root.", change=Change.RESTART, why=RDTUN)
    yield from _family(4)
    yield from _family(6)
    yield Parameter(
        "vnet",
        Kind.CHOICE,
        "Its own network stack with its own interfaces, routes and firewall (new), or that of the host.",
        default="inherit",
        change=Change.RESTART,
        choices=("inherit", "new"),
        why=RDTUN + "; jail -m with it crashes jail(8) of 12.1",
    )
    yield Parameter("host.hostname", Kind.HOSTNAME, "The jail's hostname.", default="empty", setter=Setter.TENANT)
    yield Parameter("host.domainname", Kind.HOSTNAME, "The jail's NIS domain.", default="empty", setter=Setter.OPERATOR)
    yield Parameter(
        "host.hostuuid", Kind.STRING, "The UUID that kern.hostuuid shows.", default="zeros", setter=Setter.OPERATOR
    )
    yield Parameter(
        "host.hostid",
        Kind.INTEGER,
        "The number that kern.hostid shows.",
        default="0",
        setter=Setter.OPERATOR,
        high=2**32 - 1,
    )
    yield Parameter(
        "host",
        Kind.CHOICE,
        "Whether hostname and ids are the jail's own (new) or the host's.",
        default="new",
        choices=("inherit", "new"),
    )
    yield Parameter(
        "securelevel",
        Kind.INTEGER,
        "The jail's kern.securelevel; never below that of the host. See security(7).",
        default="that of the host",
        low=-1,
        high=3,
    )
    yield Parameter(
        "devfs_ruleset",
        Kind.INTEGER,
        "The devfs(8) ruleset for /dev; 4 is for jails, 5 for jails with a network of their own.",
        default="4 with mount.devfs",
        change=Change.RESTART,
        low=1,
        high=65535,
        why="/dev keeps the rules with which it was mounted",
    )
    yield Parameter(
        "children.max", Kind.INTEGER, "How many jails may be made inside the jail.", default="0", high=999_999
    )
    yield Parameter(
        "enforce_statfs",
        Kind.INTEGER,
        "Which mounts processes see: all (0), those below the jail's root (1), only that of the root (2).",
        default="2",
        high=2,
    )
    yield Parameter(
        "persist",
        Kind.BOOLEAN,
        "The jail stays when its last process has gone.",
        default="false",
        setter=Setter.OPERATOR,
    )
    yield Parameter(
        "osrelease",
        Kind.STRING,
        "What uname -r says inside.",
        default="that of the host",
        change=Change.RESTART,
        setter=Setter.OPERATOR,
        why=RDTUN,
    )
    yield Parameter(
        "osreldate",
        Kind.INTEGER,
        "What uname -K says inside.",
        default="that of the host",
        change=Change.RESTART,
        setter=Setter.OPERATOR,
        low=1,
        why=RDTUN,
    )
    yield Parameter(
        "meta",
        Kind.STRING,
        "Free text about the jail, hidden from it; meta.KEY sets one line.",
        setter=Setter.OPERATOR,
        since=(15, 0),
    )
    yield Parameter(
        "env",
        Kind.STRING,
        "Free text that the jail can read as security.jail.env; env.KEY sets one line.",
        setter=Setter.OPERATOR,
        since=(15, 0),
    )
    yield Parameter("mac.label", Kind.STRING, "The jail's mac(4) label.", since=(15, 0))
    yield from _reported()
    yield from _permissions()
    yield from _of_modules()
    yield from _pseudo()


def _reported() -> Iterable[Parameter]:
    for name, kind, text in (
        ("parent", Kind.INTEGER, "The jid of the jail in which this one is; 0 for none."),
        ("dying", Kind.BOOLEAN, "The jail is being removed and still held by something."),
        ("children.cur", Kind.INTEGER, "How many jails are inside the jail."),
        ("cpuset.id", Kind.INTEGER, "The number of the jail's cpuset(1)."),
    ):
        yield Parameter(name, kind, text, change=Change.NEVER, setter=Setter.NOBODY, why="CTLFLAG_RD in kern_jail.c")


def _permissions() -> Iterable[Parameter]:
    yield _allow("set_hostname", "Root in the jail may change its hostname.", on=True)
    yield _allow("reserved_ports", "Root in the jail may use ports below 1024.", on=True)
    yield _allow("suser", "Root in the jail has a superuser's rights.", on=True, since=(13, 0))
    yield _allow("unprivileged_proc_debug", "Users in the jail may debug their own processes.", on=True, since=(13, 0))
    yield _allow("sysvipc", "Share System V IPC with the host; sysvmsg, sysvsem and sysvshm are better.")
    yield _allow("raw_sockets", "Root in the jail may use raw sockets: ping(8), traceroute(8), and spoofed packets.")
    yield _allow("chflags", "Root in the jail may change system file flags.")
    yield _allow("mount", "Root in the jail may mount the file systems that are also allowed one by one.")
    yield _mounting("devfs")
    yield _allow("quotas", "Root in the jail may manage quotas of its file systems, others' files on them included.")
    yield _allow("read_msgbuf", "Users in the jail may read the kernel's messages.")
    yield _allow("socket_af", "Sockets of protocols that know nothing of jails.")
    yield _allow("mlock", "Processes in the jail may lock memory.")
    yield _allow("nfsd", "An NFS server may run in the jail; needs vnet.", since=(14, 0), module="nfsd")
    yield _allow("extattr", "Root in the jail may change system extended attributes.", since=(15, 0))
    yield _allow("adjtime", "Root in the jail may adjust the clock of the whole host slowly.", since=(15, 0))
    yield _allow("settime", "Root in the jail may set the clock of the whole host.", since=(15, 0))
    yield _allow("routing", "Root in a jail without vnet may change the host's routes.", since=(15, 0))
    yield _allow("setaudit", "Processes in the jail may set or end the audit of their session.", since=(15, 0))
    yield _allow(
        "unprivileged_parent_tampering",
        "Users of the host may signal and debug processes of the same uid in the jail.",
        since=(15, 0),
    )


def _of_modules() -> Iterable[Parameter]:
    for filesystem in ("fdescfs", "fusefs", "nullfs", "procfs", "linprocfs", "linsysfs", "tmpfs", "zfs"):
        yield _mounting(filesystem)
    yield _allow("vmm", "Processes in the jail may run bhyve(8) guests.", module="vmm")
    yield _allow("vmm_ppt", "Guests in the jail may take over PCI devices.", since=(15, 1), module="vmm")
    for name, what in (("sysvmsg", "messages"), ("sysvsem", "semaphores"), ("sysvshm", "shared memory")):
        yield Parameter(
            name,
            Kind.CHOICE,
            f"System V {what}: the jail's own (new), those of the host (inherit) or none.",
            default="disable",
            setter=Setter.OPERATOR,
            choices=JAILSYS,
            module=name,
        )
    yield Parameter(
        "linux",
        Kind.CHOICE,
        "Linux emulation as the host has it (inherit) or with its own settings (new).",
        default="inherit",
        choices=("inherit", "new"),
        module="linux",
    )
    for name, kind in (("osname", Kind.STRING), ("osrelease", Kind.STRING), ("oss_version", Kind.INTEGER)):
        yield Parameter(
            f"linux.{name}", kind, f"The {name} that Linux programs see.", default="the host's", module="linux"
        )
    yield Parameter(
        "zfs.mount_snapshot",
        Kind.INTEGER,
        "Whether .zfs/snapshot can be read inside (1).",
        default="0",
        high=1,
        since=(13, 0),
        module="zfs",
    )


def _pseudo() -> Iterable[Parameter]:
    yield _hook("prepare", "before addresses and mounts are set up", since=(12, 2))
    yield _hook("prestart", "before the jail is created")
    yield _hook("created", "once it is created, before exec.start")
    yield _hook("start", "to start it; /bin/sh /etc/rc for a whole system", where="jail")
    yield _hook("poststart", "after it has started")
    yield _hook("prestop", "before it is stopped")
    yield _hook("stop", "to stop it; /bin/sh /etc/rc.shutdown jail for a whole system", where="jail")
    yield _hook("poststop", "after it is removed")
    yield _hook("release", "after mounts and addresses are gone", since=(12, 2))
    for name, kind, text, default, high in (
        ("exec.clean", Kind.BOOLEAN, "Commands start with an empty environment instead of the caller's.", "false", 1),
        ("exec.jail_user", Kind.USER, "The user inside the jail who runs exec.start and exec.stop.", "root", 1),
        ("exec.system_jail_user", Kind.BOOLEAN, "Look exec.jail_user up on the host.", "false", 1),
        ("exec.system_user", Kind.USER, "The user of the host who runs the other commands.", "root", 1),
        ("exec.timeout", Kind.INTEGER, "Seconds until a command counts as failed; 0 for ever.", "0", 86_400),
        ("exec.consolelog", Kind.PATH, "The file on the host that gets the commands' output.", "none", 1),
        ("exec.fib", Kind.INTEGER, "The routing table for commands in the jail; see setfib(1).", "0", 65_535),
    ):
        yield Parameter(name, kind, text, default, Change.FILE, high=high, pseudo=True)
    yield Parameter(
        "stop.timeout",
        Kind.INTEGER,
        "Seconds that processes have to end after SIGTERM; 0 kills at once.",
        default="10",
        change=Change.FILE,
        setter=Setter.OPERATOR,
        high=3600,
        pseudo=True,
    )
    yield Parameter(
        "command",
        Kind.COMMAND,
        "One command with its arguments, instead of exec.start.",
        change=Change.FILE,
        many=True,
        pseudo=True,
    )
    yield Parameter(
        "depend",
        Kind.JAIL,
        "Jails that are started before this one and stopped after it.",
        change=Change.FILE,
        setter=Setter.OPERATOR,
        many=True,
        pseudo=True,
    )
    yield Parameter(
        "allow.dying",
        Kind.BOOLEAN,
        "Allow changes to a dying jail; without effect on newer releases.",
        default="false",
        change=Change.FILE,
        pseudo=True,
    )
    for name, kind, setter, many, text in (
        ("interface", Kind.INTERFACE, Setter.OPERATOR, False, "The host's interface that gets the jail's addresses."),
        ("vnet.interface", Kind.INTERFACE, Setter.ADMINISTRATOR, True, "Interfaces that are moved into the jail."),
        (
            "ip_hostname",
            Kind.BOOLEAN,
            Setter.ADMINISTRATOR,
            False,
            "Take the addresses that host.hostname resolves to.",
        ),
        ("mount", Kind.FSTAB, Setter.ADMINISTRATOR, True, "File systems to mount, each a line of fstab(5)."),
        ("mount.fstab", Kind.PATH, Setter.ADMINISTRATOR, True, "Files of fstab(5) lines to mount."),
        ("mount.devfs", Kind.BOOLEAN, Setter.ADMINISTRATOR, False, "Mount /dev, with the rules of devfs_ruleset."),
        ("mount.fdescfs", Kind.BOOLEAN, Setter.ADMINISTRATOR, False, "Mount /dev/fd; see fdescfs(5)."),
        ("mount.procfs", Kind.BOOLEAN, Setter.ADMINISTRATOR, False, "Mount /proc; see procfs(5)."),
    ):
        yield Parameter(name, kind, text, "", Change.RESTART, setter, many, pseudo=True, why=UNDONE)
    yield Parameter(
        "zfs.dataset",
        Kind.DATASET,
        "Datasets that are handed to the jail, which then manages them; needs allow.mount.zfs.",
        change=Change.RESTART,
        many=True,
        since=(15, 0),
        pseudo=True,
        why=UNDONE,
        man="zfs-jail(8)",
    )


TABLE: Mapping[str, Parameter] = {parameter.name: parameter for parameter in _table()}
_KEYED = re.compile(r"(meta|env)\.[A-Za-z0-9_.-]+")


def find(name: str) -> Parameter | None:
    """The entry for a name as it may be written: `allow.nomount` is `allow.mount`, `env.KEY` is `env`."""
    if name in TABLE:
        return TABLE[name]
    if match := _KEYED.fullmatch(name):
        return TABLE[match[1]]
    head, dot, last = name.rpartition(".")
    positive = TABLE.get(f"{head}{dot}{last.removeprefix('no')}") if last.startswith("no") else None
    return positive if positive and positive.kind is Kind.BOOLEAN else None


def setter(name: str, value: Value = None) -> Setter:
    """Who may give this value, at least; administrators for what the table does not know.

    A value that shares the host's System V IPC widens the jail, though the others do not.
    """
    parameter = find(name)
    if parameter is None:
        return Setter.ADMINISTRATOR
    if parameter.kind is Kind.CHOICE and "inherit" in _texts(value):
        return max(parameter.setter, Setter.ADMINISTRATOR)
    return parameter.setter


def change(name: str, *, on_interface: bool = True) -> Change:
    """What it takes to change a running jail; RESTART for what the table does not know.

    `on_interface` is False for a jail whose addresses jail(8) does not put on an interface (neither `interface` nor
    `interface|address`): only then can `jail -m` change them.
    """
    parameter = find(name)
    if parameter is None:
        return Change.RESTART
    if parameter.kind in (Kind.IP4, Kind.IP6) and not on_interface:
        return Change.LIVE
    return parameter.change


def validate(name: str, value: Value) -> str | None:
    """What is wrong with a value as `render_jail` takes it, beginning with the parameter's name; None if it is good."""
    problem = _problem(name, value)
    return f"{name}: {problem}" if problem else None


def _problem(name: str, value: Value) -> str | None:
    parameter = find(name)
    if parameter is None:
        return "is not a parameter of jail(8) known here; look for a typing error."
    if parameter.change is Change.NEVER:
        return "cannot be set: the kernel gives it."
    if parameter.kind is Kind.BOOLEAN:
        return _boolean_problem(value)
    if value is None or isinstance(value, bool):
        bare = name == "vnet" or name.startswith(("meta.", "env."))
        return None if bare and value is not False else "needs a value."
    texts = _texts(value)
    if not all(isinstance(text, str) for text in texts):
        return "has a value that is not text."
    if len(texts) != 1 and not parameter.many:
        return f"takes one value, not {len(texts)}."
    if not texts:
        return "needs a value."
    if len(set(texts)) != len(texts) and parameter.kind is not Kind.COMMAND:
        return "has a value twice."
    return next((problem for text in texts if (problem := _text_problem(parameter, text))), None)


def _texts(value: Value) -> tuple[str, ...]:
    if value is None or isinstance(value, bool):
        return ()
    if isinstance(value, int):
        return (str(value),)
    return (value,) if isinstance(value, str) else tuple(value)


def _boolean_problem(value: Value) -> str | None:
    # jail(8) also takes any number and, for its own parameters, an empty word; nobody should have to know that.
    if value is None or isinstance(value, bool) or value == ():
        return None
    texts = _texts(value)
    if len(texts) == 1 and texts[0] in ("true", "false", "0", "1"):
        return None
    return "is on or off; expected true or false."


def _text_problem(parameter: Parameter, text: str) -> str | None:
    control = next((character for character in text if not character.isprintable() and character != "\t"), None)
    if control is not None:
        return f"contains a control character (U+{ord(control):04X})."
    check = _CHECKS.get(parameter.kind)
    if check is not None:
        return check(text)
    if parameter.kind is Kind.INTEGER:
        return _integer_problem(parameter, text)
    if parameter.kind is Kind.CHOICE:
        return None if text in parameter.choices else f"is “{text}”; expected {' or '.join(parameter.choices)}."
    return _string_problem(parameter, text)


def _integer_problem(parameter: Parameter, text: str) -> str | None:
    if not re.fullmatch(r"0|-?[1-9][0-9]{0,9}", text):
        return f"is “{text}”; expected a whole number."
    if parameter.name == "devfs_ruleset" and text == "0":
        return "must not be 0, which hides no device of the host from the jail; 4 is for jails."
    if not parameter.low <= int(text) <= parameter.high:
        return f"is {text}; expected {parameter.low} to {parameter.high}."
    return None


def _string_problem(parameter: Parameter, text: str) -> str | None:
    if parameter.name == "host.hostuuid" and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        return "is not a UUID; expected 8-4-4-4-12 hexadecimal digits in lower case."
    if parameter.name in ("osrelease", "linux.osrelease") and not re.fullmatch(r"[0-9A-Za-z._-]{1,31}", text):
        return "is not a release; expected up to 31 letters, digits and “._-”, like 14.2-RELEASE."
    return None if len(text) <= 1000 else f"has {len(text)} characters; at most 1000 are allowed."


def _command_problem(text: str) -> str | None:
    return None if text.strip() else "has an empty command."


def _fstab_problem(text: str) -> str | None:
    fields = text.split()
    if not 3 <= len(fields) <= 6 or text.lstrip().startswith("#"):
        return "is not a line of fstab(5); expected DEVICE MOUNTPOINT TYPE OPTIONS [DUMP PASS]."
    problem = names.path_error(fields[1])
    return f"has a mount point that {problem}" if problem else None


def _address_check(version: int) -> Callable[[str], str | None]:
    simple = names.ip4_error if version == 4 else names.ip6_error

    def check(text: str) -> str | None:
        interface, bar, address = text.rpartition("|")
        problem = names.interface_error(interface) if bar else None
        if problem:
            return f"has an interface that {problem}"
        host, slash, mask = address.partition("/")
        if version == 4 and slash and "." in mask:
            return simple(host) or _netmask_problem(mask)
        return simple(address)

    return check


def _netmask_problem(mask: str) -> str | None:
    try:
        bits = int(ipaddress.IPv4Address(mask))
    except ValueError:
        return f"has the netmask “{mask}”; expected one like 255.255.255.0."
    inverted = bits ^ 0xFFFFFFFF
    return f"has the netmask “{mask}”, whose ones are not all in front." if inverted & (inverted + 1) else None


_CHECKS: Mapping[Kind, Callable[[str], str | None]] = {
    Kind.HOSTNAME: names.hostname_error,
    Kind.PATH: names.path_error,
    Kind.IP4: _address_check(4),
    Kind.IP6: _address_check(6),
    Kind.INTERFACE: names.interface_error,
    Kind.JAIL: names.jail_reference_error,
    Kind.DATASET: names.dataset_reference_error,
    Kind.COMMAND: _command_problem,
    Kind.FSTAB: _fstab_problem,
    Kind.USER: names.user_name_error,
}
