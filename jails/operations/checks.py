"""Questions to a host that a plan asks: is it done, and is it ours?

Each kind of Check has an entry here: a command that only reads, and what its answer means. A command that exits with
a status other than 0 has not answered, and that is an error (`Unanswered`), never a "no": on a "no" things are removed.
All questions of a step are asked in one go.

`dataset_ours("zroot/jail/www1", operation_id)` and the other functions make a Check; kinds may `register` more.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jails.freebsd import ifconfig, rcservices, rctl, sh, sockstat, zpool
from jails.freebsd.command import Argv, Pipeline
from jails.hosts.connection import Connection
from jails.operations.step import CAPTURE, Check, digest

SECONDS = 60
"""Time limit for the questions of one step."""


class Unanswered(Exception):
    """The host was reached, but the command that asks failed: nothing is known."""


@dataclass(frozen=True)
class Question:
    """argv: what is run; it exits with 0 when it has an answer. holds: what its output means. words: the claim."""

    argv: Argv
    holds: Callable[[str], bool]
    words: str


Maker = Callable[..., Question]
_makers: dict[str, Maker] = {}


def register(maker: Maker) -> Callable[..., Check]:
    """Add an entry under the function's name; returns what makes a Check of it. Arguments are text."""
    name = maker.__name__
    _makers[name] = maker

    def check(*args: str) -> Check:
        return Check(name, tuple(str(arg) for arg in args))

    check.__name__, check.__doc__ = name, maker.__doc__
    return check


def is_not(check: Check) -> Check:
    return Check(check.kind, check.args, not check.negated)


def question(check: Check, captured: Mapping[str, str] | None = None) -> Question:
    """Raises LookupError for an unknown kind, KeyError where an argument names what was never captured."""
    if check.kind not in _makers:
        raise LookupError(f"no check is called {check.kind!r}")
    values = captured or {}
    return _makers[check.kind](*(CAPTURE.sub(lambda match: values[match[1]], arg) for arg in check.args))


def words(check: Check) -> str:
    """What the check claims, for people."""
    names = {name: "$" + name for arg in check.args for name in CAPTURE.findall(arg)}
    claim = question(check, names).words
    return f"not: {claim}" if check.negated else claim


def ask(connection: Connection, checks: Sequence[Check], captured: Mapping[str, str] | None = None) -> list[bool]:
    """Whether each of them holds, in one request to the host. Raises Unanswered, HostUnavailable or CommandTimeout."""
    if not checks:
        return []
    questions = [question(check, captured) for check in checks]
    answers = _answers(connection, [question.argv for question in questions])
    return [
        question.holds(answer) != check.negated
        for check, question, answer in zip(checks, questions, answers, strict=True)
    ]


def all_hold(connection: Connection, checks: Sequence[Check], captured: Mapping[str, str] | None = None) -> bool:
    return all(ask(connection, checks, captured))


def _answers(connection: Connection, argvs: Sequence[Argv]) -> Iterable[str]:
    if len(argvs) == 1:
        result = connection.run(Pipeline((argvs[0],)), timeout=SECONDS)
        parts = [(result.rc, result.stdout, result.stderr)]
    else:
        result = connection.run(Pipeline.of(("sh", "-c", sh.batch(argvs))), timeout=SECONDS)
        try:
            parts = [(part.rc, part.stdout, part.stderr) for part in sh.split_batch(result.stdout)]
        except ValueError as error:
            raise Unanswered(f"the host's answer makes no sense: {error}") from error
        if len(parts) != len(argvs):
            raise Unanswered(f"{len(argvs)} questions were asked, {len(parts)} were answered")
    for argv, (rc, _, stderr) in zip(argvs, parts, strict=True):
        if rc:
            message = stderr.decode("utf-8", "replace").strip().partition("\n")[0]
            raise Unanswered(f"{' '.join(sh.quote(word) for word in argv)} exited with {rc}: {message}")
    return [stdout.decode("utf-8", "surrogateescape") for _, stdout, _ in parts]


def _sh(text: str, *args: str) -> Argv:
    """A fixed text; what comes from outside reaches it as positional parameters only."""
    return ("sh", "-c", text, "sh", *args)


def _yes(answer: str) -> bool:
    return answer == "yes\n"


def _line(expected: str) -> Callable[[str], bool]:
    return lambda answer: answer == expected + "\n"


_TEST = "if [ {} ]; then echo yes; else echo no; fi"

# ZFS: a tool that fails is a "no" only while the pool itself answers, see zfs(8) and zpool(8): both say 1 for
# "there is no such dataset" and for "nothing works at all".
_ZFS_GET = 'zfs get -H -p -o value "$1" "$2" 2>/dev/null || zpool list -H -o name "$3" >/dev/null'
_ZFS_IS = 'zfs get -H -o value type "$1" 2>/dev/null || zpool list -H -o name "$2" >/dev/null'
_ZFS_OURS = 'zfs get -H -p -o value,source "$1" "$2" 2>/dev/null || zpool list -H -o name "$3" >/dev/null'


def _pool(dataset: str) -> str:
    return re.split(r"[/@#]", dataset, maxsplit=1)[0]


def _zfs_value(dataset: str, name: str, value: str, words: str) -> Question:
    return Question(_sh(_ZFS_GET, name, dataset, _pool(dataset)), _line(value), words)


def _zfs_ours(name: str, operation_id: str) -> Question:
    # A snapshot or child made by hand inherits the property: only a local one proves anything.
    argv = _sh(_ZFS_OURS, "cellblock:operation", name, _pool(name))
    return Question(argv, _line(f"{operation_id}\tlocal"), f"{name} is there, made by this operation")


@register
def dataset_ours(dataset: str, operation_id: str) -> Question:
    """The file system is there and this operation made it: it carries its id, set by the command that made it."""
    return _zfs_ours(dataset, operation_id)


@register
def snapshot_ours(snapshot: str, operation_id: str) -> Question:
    """As dataset_ours, for a snapshot made with -o cellblock:operation=ID."""
    return _zfs_ours(snapshot, operation_id)


@register
def dataset_exists(dataset: str) -> Question:
    return Question(_sh(_ZFS_IS, dataset, _pool(dataset)), bool, f"{dataset} exists")


@register
def dataset_absent(dataset: str) -> Question:
    return Question(_sh(_ZFS_IS, dataset, _pool(dataset)), lambda answer: not answer, f"there is no {dataset}")


@register
def snapshot_exists(snapshot: str) -> Question:
    return Question(_sh(_ZFS_IS, snapshot, _pool(snapshot)), bool, f"{snapshot} exists")


@register
def snapshot_absent(snapshot: str) -> Question:
    return Question(_sh(_ZFS_IS, snapshot, _pool(snapshot)), lambda answer: not answer, f"there is no {snapshot}")


@register
def only_snapshots(dataset: str, *allowed: str) -> Question:
    """The dataset has no other snapshots, whoever made them: nothing else of what it held before can be seen in it."""
    text = 'zfs list -H -d 1 -t snapshot -o name "$1" 2>/dev/null || zpool list -H -o name "$2" >/dev/null'
    return Question(
        _sh(text, dataset, _pool(dataset)),
        lambda answer: set(answer.splitlines()) <= set(allowed),
        f"{dataset} has no snapshots but {', '.join(allowed)}" if allowed else f"{dataset} has no snapshots",
    )


@register
def snapshot_unused(snapshot: str) -> Question:
    """No dataset is a clone of it."""
    text = 'zfs get -H -p -o value clones "$1" 2>/dev/null || zpool list -H -o name "$2" >/dev/null'
    return Question(
        _sh(text, snapshot, _pool(snapshot)), lambda answer: answer.strip() in ("", "-"), f"{snapshot} has no clones"
    )


@register
def snapshots_free(dataset: str, *snapshots: str) -> Question:
    """Of these snapshots of a dataset none has clones or is held; one that is gone does not count."""
    text = (
        'zfs list -H -p -d 1 -t snapshot -o name,clones,userrefs "$1" 2>/dev/null || '
        'zpool list -H -o name "$2" >/dev/null'
    )
    return Question(
        _sh(text, dataset, _pool(dataset)),
        lambda answer: all(_is_free(line) for line in answer.splitlines() if line.partition("\t")[0] in snapshots),
        f"of {dataset} has neither clones nor holds: {', '.join(snapshots) or 'no snapshot'}",
    )


def _is_free(line: str) -> bool:
    _, clones, holds = line.split("\t")
    return clones in ("", "-") and holds in ("0", "-")


@register
def snapshot_held(snapshot: str, tag: str) -> Question:
    """Somebody holds it with that tag; what is gone is not held."""
    text = 'zfs holds -H "$1" 2>/dev/null || zpool list -H -o name "$2" >/dev/null'
    return Question(
        _sh(text, snapshot, _pool(snapshot)),
        lambda answer: any(line.split("\t")[:2] == [snapshot, tag] for line in answer.splitlines()),
        f"{snapshot} is held with the tag {tag}",
    )


@register
def snapshot_let_go(snapshot: str) -> Question:
    """It is gone, or goes with the last of its clones."""
    text = 'zfs get -H -p -o value defer_destroy "$1" 2>/dev/null || zpool list -H -o name "$2" >/dev/null'
    return Question(
        _sh(text, snapshot, _pool(snapshot)),
        lambda answer: answer in ("", "on\n"),
        f"{snapshot} is gone, or goes with the last of its clones",
    )


@register
def dataset_property(dataset: str, name: str, value: str) -> Question:
    """A property has that value, as `zfs get -p` prints it."""
    return _zfs_value(dataset, name, value, f"{name} of {dataset} is {value}")


@register
def dataset_origin(dataset: str, snapshot: str) -> Question:
    return _zfs_value(dataset, "origin", snapshot, f"{dataset} is a clone of {snapshot}")


@register
def file_is(path: str, sha256: str) -> Question:
    """A regular file (no symbolic link) whose content has that SHA-256 in hexadecimal."""
    text = 'if [ -f "$1" ] && [ ! -L "$1" ]; then sha256 -q "$1"; fi'
    return Question(_sh(text, path), _line(sha256), f"{path} has the content written here")


def file_has(path: str, content: str) -> Check:
    """`file_is` for a content that one has."""
    return file_is(path, digest(content))


@register
def file_says(path: str, sha256: str) -> Question:
    """What one reads there, through a symbolic link too, is what it was: for a file that somebody else keeps."""
    text = 'if [ -f "$1" ]; then sha256 -q "$1"; fi'
    return Question(_sh(text, path), _line(sha256), f"{path} is what it was when the plan was made")


@register
def file_absent(path: str) -> Question:
    return _absent(path)


@register
def path_absent(path: str) -> Question:
    """Nothing of any type is there, not even a dangling symbolic link."""
    return _absent(path)


def _absent(path: str) -> Question:
    return Question(_sh(_TEST.format('! -e "$1" ] && [ ! -L "$1"'), path), _yes, f"there is no {path}")


@register
def path_exists(path: str) -> Question:
    return Question(_sh(_TEST.format('-e "$1" ] || [ -L "$1"'), path), _yes, f"{path} exists")


@register
def directory_exists(path: str) -> Question:
    return Question(_sh(_TEST.format('-d "$1" ] && [ ! -L "$1"'), path), _yes, f"{path} is a directory")


@register
def directory_empty(path: str) -> Question:
    text = 'if [ -d "$1" ] && [ ! -L "$1" ]; then ls -A "$1" && echo .; fi'
    return Question(_sh(text, path), _line("."), f"{path} is an empty directory")


@register
def inode_is(path: str, inode: str) -> Question:
    """The directory or file that a step made and whose inode number it captured, and not another one of that name."""
    text = 'if [ -e "$1" ]; then stat -f %i "$1"; fi'
    return Question(_sh(text, path), _line(inode), f"{path} is the one made here")


@register
def mode_is(path: str, mode: str) -> Question:
    """Permission bits in octal as stat(1) prints them: 644, 1777."""
    expected = mode.lstrip("0") or "0"
    text = 'if [ -e "$1" ]; then stat -f %Mp%Lp "$1"; fi'
    return Question(
        _sh(text, path), lambda answer: (answer.strip().lstrip("0") or "0") == expected, f"{path} has mode {mode}"
    )


@register
def owner_is(path: str, user: str, group: str) -> Question:
    """By name as stat(1) prints them."""
    text = 'if [ -e "$1" ]; then stat -f %Su:%Sg "$1"; fi'
    return Question(_sh(text, path), _line(f"{user}:{group}"), f"{path} belongs to {user}:{group}")


_JLS = 'jls {} -j "$1" {} 2>/dev/null || [ $? -eq 1 ]'


@register
def jail_running(name: str, path: str) -> Question:
    """A jail of that name runs (is not dying), and its root is that path."""
    return Question(_sh(_JLS.format("", "path"), name), _line(path), f"the jail {name} runs in {path}")


@register
def jail_absent(name: str) -> Question:
    """No jail of that name runs; one that is dying does not count."""
    return Question(_sh(_JLS.format("", "jid"), name), lambda answer: not answer.strip(), f"no jail {name} runs")


@register
def jail_gone(name: str) -> Question:
    """No jail of that name is there, not even a dying one."""
    return Question(_sh(_JLS.format("-d", "jid"), name), lambda answer: not answer.strip(), f"the jail {name} is gone")


@register
def jail_param(name: str, param: str, value: str) -> Question:
    """A running jail's parameter, as jls(8) prints it."""
    return Question(_sh(_JLS.format("", '"$2"'), name, param), _line(value), f"{param} of the jail {name} is {value}")


# Asked of the jail's own rc.d script, which may take its time. A "no" counts only while the jail is there.
_SERVICE = (
    'j=$1; shift; if timeout -k 2 30 jexec -l -- "$j" "$@" >/dev/null 2>&1; then echo yes; '
    'else jls -j "$j" jid >/dev/null && echo no; fi'
)


@register
def service_runs(jail: str, name: str) -> Question:
    """A service runs in a running jail, as its own script says."""
    return Question(_sh(_SERVICE, jail, rcservices.SERVICE, name, "onestatus"), _yes, f"{name} runs in {jail}")


@register
def service_enabled(jail: str, name: str) -> Question:
    """A service starts with its jail, as its own script says."""
    return Question(_sh(_SERVICE, jail, rcservices.SERVICE, name, "enabled"), _yes, f"{name} starts with {jail}")


@register
def limit_is(name: str, resource: str, amount: str) -> Question:
    """What rctl(8) denies a jail more than, as a number, or `none`. A rule with a user or process has no part in it."""

    def holds(answer: str) -> bool:
        found = rctl.in_force(rctl.parse(answer.encode("utf-8", "surrogateescape")), name)
        amounts = {rctl.RESOURCES[limit]: str(value) for limit, value in found.items()}
        return amounts.get(resource, "none") == amount

    return Question(rctl.LIST, holds, f"the limit {resource} of the jail {name} is {amount}")


@register
def address_on(interface: str, ip: str) -> Question:
    """An interface has that address."""
    return Question(
        ifconfig.LIST,
        lambda answer: (interface, _ip(ip)) in _interface_addresses(answer),
        f"{ip} is on {interface}",
    )


@register
def address_free(ip: str) -> Question:
    """No interface of the host has that address."""
    return Question(
        ifconfig.LIST,
        lambda answer: all(found != _ip(ip) for _, found in _interface_addresses(answer)),
        f"no interface has {ip}",
    )


def _ip(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _interface_addresses(answer: str) -> set[tuple[str, str]]:
    found = ifconfig.parse(answer.encode("utf-8", "surrogateescape"))
    return {(interface.name, _ip(address.ip)) for interface in found for address in interface.addresses}


@register
def alone(operation_id: str) -> Question:
    """No other operation is under way on this host: each has a lock file there from its beginning to its end."""
    from jails.operations.effects import LOCK_DIRECTORY

    return Question(
        ("ls", "-A", LOCK_DIRECTORY),
        lambda answer: set(answer.split()) <= {operation_id},
        f"no operation but {operation_id} is under way",
    )


@register
def mounted(path: str) -> Question:
    """Something is mounted exactly there."""
    return Question(("mount", "-p"), lambda answer: path in _mount_points(answer), f"something is mounted on {path}")


@register
def unmounted(path: str) -> Question:
    return Question(("mount", "-p"), lambda answer: path not in _mount_points(answer), f"nothing is mounted on {path}")


@register
def nothing_mounted_below(path: str) -> Question:
    below = path.rstrip("/") + "/"
    return Question(
        ("mount", "-p"),
        lambda answer: not any(point.startswith(below) for point in _own_mount_points(answer)),
        f"nothing is mounted below {path}",
    )


@register
def mounted_below_only(path: str, *allowed: str) -> Question:
    """Of what is mounted below a path, everything is one of these mount points."""
    below = path.rstrip("/") + "/"
    return Question(
        ("mount", "-p"),
        lambda answer: all(point in allowed for point in _own_mount_points(answer) if point.startswith(below)),
        f"nothing {'else ' if allowed else ''}is mounted below {path}",
    )


def _own_mount_points(text: str) -> set[str]:
    """Without the snapshots that ZFS itself mounts where somebody looks into one: they go with their file system."""
    return {point for point in _mount_points(text) if "/.zfs/snapshot/" not in point}


def _mount_points(text: str) -> set[str]:
    """The second field of fstab(5) lines, where a space is \\040."""
    fields = (line.split() for line in text.splitlines())
    return {re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field[1]) for field in fields if len(field) > 1}


@register
def rc_list_has(variable: str, name: str) -> Question:
    """A word of a list in rc.conf, as sysrc(8) reads it."""
    return Question(("sysrc", "-i", "-n", variable), lambda answer: name in answer.split(), f"{variable} has {name}")


@register
def rc_list_has_not(variable: str, name: str) -> Question:
    return Question(
        ("sysrc", "-i", "-n", variable), lambda answer: name not in answer.split(), f"{variable} does not have {name}"
    )


@register
def rc_value(variable: str, value: str) -> Question:
    """A variable of rc.conf, as sysrc(8) reads it."""
    return Question(("sysrc", "-i", "-n", variable), _line(value), f"{variable} is “{value}” in rc.conf")


@register
def rc_unset(variable: str) -> Question:
    """None of the files of rc.conf(5) sets it; there may be a default."""
    text = 'sysrc -i -F -n "$1" || [ $? -eq 1 ]'
    return Question(
        _sh(text, variable),
        lambda answer: answer.strip() in ("", "/etc/defaults/rc.conf"),
        f"rc.conf does not set {variable}",
    )


@register
def sysctl_is(name: str, value: str) -> Question:
    return Question(("sysctl", "-n", name), _line(value), f"{name} is {value}")


# Sockets of the host alone: -j 0 leaves out those of jails.
_SOCKETS = ("sockstat", "-4", "-6", "-l", "-j", "0")


@register
def listens(command: str) -> Question:
    """A process of the host, called so, has a socket that listens."""
    return Question(_SOCKETS, lambda answer: bool(_places(command, answer)), f"{command} of the host listens")


@register
def listens_only(command: str, *addresses: str) -> Question:
    """Processes of the host that are called so listen on each of these addresses and nowhere else; without any not at
    all."""
    wanted = {_ip(address) for address in addresses}
    words = f"{command} listens on {', '.join(addresses)} only" if addresses else f"{command} listens nowhere"
    return Question(_SOCKETS, lambda answer: _places(command, answer) == wanted, words)


@register
def listens_at_only(command: str, ports: str, *addresses: str) -> Question:
    """The same of some ports (`22 2222`): what a session of ssh(1) forwards listens as sshd too, on others."""
    wanted, numbers = {_ip(address) for address in addresses}, {int(port) for port in ports.split() if port.isdigit()}
    words = f"{command} listens on {', '.join(addresses)} only, at port {ports.replace(' ', ', ')}"
    return Question(_SOCKETS, lambda answer: _places(command, answer, numbers) == wanted, words)


def _places(command: str, answer: str, ports: Collection[int] = ()) -> set[str]:
    found = sockstat.parse(answer.encode("utf-8", "surrogateescape"))
    sockets = [socket for socket in found if socket.command == command and socket.port is not None]
    return {socket.ip for socket in sockets if not ports or socket.port in ports}


@register
def scrubbed(pool: str) -> Question:
    """A scrub of the pool runs, or has ended within the last hour."""
    return Question(_sh('zpool status "$1" && date +%s:%z', pool), _is_fresh, f"{pool} is being scrubbed, or just was")


def _is_fresh(answer: str) -> bool:
    text, _, date = answer.rstrip("\n").rpartition("\n")
    found = zpool.parse_status(text.encode("utf-8", "surrogateescape"))
    moment = re.fullmatch(r"([0-9]+):([+-])([0-9]{2})([0-9]{2})", date)
    if len(found) != 1 or moment is None:
        return False
    if found[0].scanning and found[0].scan.startswith("scrub"):
        return True
    offset = (int(moment[3]) * 3600 + int(moment[4]) * 60) * (-1 if moment[2] == "-" else 1)
    ended = found[0].scrubbed_at(offset)
    return ended is not None and ended >= int(moment[1]) - 3600


@register
def user_exists(name: str) -> Question:
    text = 'if pw usershow -n "$1" >/dev/null 2>&1; then echo yes; else pw usershow -u 0 >/dev/null; fi'
    return Question(_sh(text, name), _yes, f"there is a user {name}")
