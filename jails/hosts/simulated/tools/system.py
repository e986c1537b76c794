"""uname, sysctl, ps, df, lockf, timeout, env and the others that ask or lead processes (bin/, sbin/, usr.bin/)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from jails.hosts.simulated import clock, prison
from jails.hosts.simulated.host import State, strerror
from jails.hosts.simulated.process import NotFound, Process, close_all_but

from . import access
from .access import Options, each

# What the host is


def hostname_of(process: Process, state: State) -> str:
    """gethostname(3) as this process sees it."""
    row = prison.by_jid(state, process.jid) if process.jid else None
    return str(prison.hostname(state, row) if row else state["hostname"])


def jail_value(process: Process, state: State, name: str) -> Any:
    row = prison.by_jid(state, process.jid) if process.jid else None
    return row["set"].get(name) if row else None


def release_of(process: Process, state: State) -> str:
    return str(jail_value(process, state, "osrelease") or process.host.release(state))


def version_text(release: str) -> str:
    return f"FreeBSD {release} GENERIC"


def uname_main(process: Process) -> int:
    options = Options(process, "abiKmnoprsUv", "usage: uname [-abiKmnoprsUv]", 1)
    with process.host.reading() as state:
        release = release_of(process, state)
        known = {
            "s": "FreeBSD",
            "n": hostname_of(process, state),
            "r": release,
            "v": version_text(release) + (" " if release.startswith("12.") else ""),
            "m": state["arch"],
            "p": "aarch64" if state["arch"] == "arm64" else state["arch"],
            "i": "GENERIC",
            "K": str(state["osreldate"]),
            "U": str(jail_value(process, state, "osreldate") or state["osreldate"]),
            "b": "0",
        }
    wanted = {letter for letter, _ in options.all} or {"s"}
    wanted = (wanted | set("snrvm") if "a" in wanted else wanted) | ({"s"} if "o" in wanted else set())
    process.out(" ".join(text for letter, text in known.items() if letter in wanted) + "\n")
    return 0


def freebsd_version_main(process: Process) -> int:
    options = Options(process, "kruj:", "usage: freebsd-version [-kru] [-j jail]", 1)
    with process.host.reading() as state:
        host = process.host.release(state)
        userland = str(state.get("userland") or host)
        root, label = process.root, "u"
        if "j" in options:
            try:
                root = prison.get(state, options.get("j") or "", within=process.jid)["path"]
            except prison.JailError as problem:
                process.exit(1, problem.message)
    inside = _userland(process, root) if root != "/" else userland
    shown = {letter for letter, _ in options.all} & set("kru") or {label}
    if "k" in shown:
        process.out(host + "\n")
    if "r" in shown:
        process.out(host + "\n")
    if "u" in shown or "j" in options:
        process.out((inside or host) + "\n")
    return 0


def _userland(process: Process, root: str) -> str | None:
    """USERLAND_VERSION of a tree: what its os-release says."""
    try:
        with process.host.reading() as state:
            text = process.host.locate(state, "/etc/os-release", root=root).backing.read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r'^VERSION="?([^"\n]+)', text, re.MULTILINE)
    return found[1] if found else None


def hostname_main(process: Process) -> int:
    options = Options(process, "fsd", "usage: hostname [-f] [-s | -d] [name-of-host]", 1)
    if options.operands:
        if process.jid:
            with process.host.changing() as state:
                row = prison.by_jid(state, process.jid)
                if row and row["set"].get("allow.set_hostname", True):
                    row["set"]["host.hostname"] = options.operands[0]
                    return 0
            process.exit(1, "sethostname: Operation not permitted")
        with process.host.changing() as state:
            state["hostname"] = options.operands[0]
        return 0
    with process.host.reading() as state:
        name = hostname_of(process, state)
    short, _, domain = name.partition(".")
    process.out((short if "s" in options else domain if "d" in options else name) + "\n")
    return 0


def dmesg_main(process: Process) -> int:
    with process.host.reading() as state:
        release = process.host.release(state)
        memory = state["memory"]
        cpus = state["ncpu"]
    process.out(
        f"---<<BOOT>>---\n{version_text(release)} {state['arch']}\nreal memory  = {memory} ({memory >> 20} MB)\n"
        f"FreeBSD/SMP: Multiprocessor System Detected: {cpus} CPUs\nTrying to mount root from ufs:/dev/vtbd0 []...\n"
    )
    return 0


# Running others


def lockf_main(process: Process) -> int:
    usage = "usage: lockf [-kns] [-t seconds] file command [arguments]"
    options = Options(process, "knpst:w", usage)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage)
    file, *command = options.operands
    wait = options.get("t")
    if wait is not None and not re.fullmatch(r"-?\d+", wait):
        process.exit(64, f'invalid timeout "{wait}"')
    flags = os.O_RDONLY | (0 if "n" in options else os.O_CREAT)
    try:
        place = process.locate(file)
        if flags & os.O_CREAT and not place.exists:
            access.before_write(process, place)
        lock = os.open(place.backing, flags, 0o666)
    except OSError as error:
        process.exit(
            69 if error.errno == errno.ENOENT and "n" in options else 73, f"cannot open {file}: {strerror(error)}"
        )
    try:
        if not _take(lock, None if wait is None else int(wait)):
            if "s" not in options:
                process.err(f"lockf: {file}: already locked\n")
            return 75
        try:
            return process.run(command)
        except NotFound as problem:
            process.err(f"lockf: {command[0]}: {problem.words}\n")
            return 1
        finally:
            if "k" not in options:
                place.backing.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _take(lock: int, seconds: int | None) -> bool:
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if end is not None and time.monotonic() >= end:
                return False
            time.sleep(0.02)


def timeout_main(process: Process) -> int:
    usage = (
        "usage: timeout [-f | --foreground] [-k time | --kill-after time] [-p | --preserve-status] "
        "[-s signal | --signal signal] <duration> <command> <arg ...>"
    )
    words = process.argv[1:]
    long = {"--foreground": "-f", "--preserve-status": "-p", "--kill-after": "-k", "--signal": "-s"}
    process.argv[1:] = [
        long.get(word.partition("=")[0], word.partition("=")[0]) + word.partition("=")[2]
        if word.startswith("--") and word != "--"
        else word
        for word in words
    ]
    options = Options(process, "fk:ps:v", usage, 125)
    if len(options.operands) < 2:
        access.wrong_usage(process, "", usage, 125)
    seconds = _duration(process, options.operands[0])
    from .processes import signal_number

    number = signal_number(process, options.get("s") or "TERM")
    process.flush()
    sent: list[int] = []
    is_alone = threading.current_thread() is threading.main_thread()
    if is_alone:
        # What it is sent it passes on, and waits no longer than after its own signal.
        signal.signal(signal.SIGTERM, lambda number, _: sent.append(number))
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            close_all_but(process.fds.values())
            status = _run_or_tell(process, options.operands[1:])
        finally:
            os._exit(status)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    try:
        ended = _wait(child, seconds, sent)
        if ended is not None:
            return ended
        os.killpg(child, sent[0] if sent else number)
        ended = _wait(child, _duration(process, options.get("k") or "0") if "k" in options else 0)
        if ended is None:
            os.killpg(child, signal.SIGKILL)
            ended = _wait(child, 0) or 137
        return ended if "p" in options or sent else 124
    except ProcessLookupError:
        return 124
    finally:
        if is_alone:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _duration(process: Process, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", text)
    if found is None:
        process.exit(
            125, "duration is not a number" if not re.match(r"[\d.]", text) else "duration unit suffix invalid"
        )
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _wait(child: int, seconds: float, sent: Sequence[int] = ()) -> int | None:
    """The child's status, or None when it still runs after so many seconds (0: for ever) or once something is sent."""
    end = time.monotonic() + seconds if seconds else None
    pause = 0.001  # most commands end within milliseconds
    while True:
        pid, code = os.waitpid(child, os.WNOHANG if end is not None else 0)
        if pid:
            status = os.waitstatus_to_exitcode(code)
            return 128 - status if status < 0 else status
        if sent or (end is not None and time.monotonic() >= end):
            return None
        time.sleep(pause)
        pause = min(pause * 2, 0.01)


def _run_or_tell(process: Process, command: list[str], **more: Any) -> int:
    try:
        return process.run(command, **more)
    except NotFound as problem:
        process.err(f"{process.name}: {command[0]}: {problem.words}\n")
        return 127 if problem.number == errno.ENOENT else 126


def env_main(process: Process) -> int:
    words, env = process.argv[1:], dict(process.env)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in ("-i", "-"):
            env = {}
        elif word == "-u" and words:
            env.pop(words.pop(0), None)
        elif word == "--":
            break
        elif word != "-v":
            access.wrong_usage(
                process,
                f"illegal option -- {word[1:2]}",
                "usage: env [-0iv] [-u name] [name=value ...] [utility [argument ...]]",
                1,
            )
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if not words:
        process.out("".join(f"{name}={value}\n" for name, value in env.items()))
        return 0
    return _run_or_tell(process, words, env=env)


def nohup_main(process: Process) -> int:
    if len(process.argv) < 2:
        access.wrong_usage(process, "", "usage: nohup [--] utility [arguments]", 127)
    words = process.argv[2:] if process.argv[1] == "--" else process.argv[1:]
    if process.jid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN) if _in_main_thread() else None
    return _run_or_tell(process, words)


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def chroot_main(process: Process) -> int:
    options = Options(
        process, "G:g:u:n", "usage: chroot [-g group] [-G group,group,...] [-u user] [-n] newroot [command]", 1
    )
    if not options.operands:
        access.wrong_usage(
            process, "", "usage: chroot [-g group] [-G group,group,...] [-u user] [-n] newroot [command]", 1
        )
    place = process.locate(options.operands[0])
    if not place.exists or not place.backing.is_dir():
        process.exit(1, f"{options.operands[0]}: {'Not a directory' if place.exists else 'No such file or directory'}")
    user = _user_of(process, options.get("u") or "") if "u" in options else None
    return _run_or_tell(process, options.operands[1:] or ["/bin/sh", "-i"], root=place.path, cwd="/", user=user)


def _user_of(process: Process, wanted: str) -> str:
    """By name or number. A number that no account has is one all the same, and has no name to run under here."""
    users = access.account_names(process, "/etc/passwd")
    if wanted in users:
        return wanted
    if not wanted.isdigit():
        process.exit(1, f"no such user `{wanted}'")
    return next((name for name, uid in users.items() if uid == int(wanted)), wanted)


def sleep_main(process: Process) -> int:
    if len(process.argv) != 2 or not re.fullmatch(r"\d*\.?\d+", process.argv[1]):
        access.wrong_usage(
            process, "", "usage: sleep number[unit] ..." if process.release_at_least(14) else "usage: sleep seconds", 1
        )
    clock.sleep(float(process.argv[1]))
    return 0


def true_main(process: Process) -> int:
    return 0


def false_main(process: Process) -> int:
    return 1


def sync_main(process: Process) -> int:
    return 0


def nologin_main(process: Process) -> int:
    process.out("This account is currently not available.\n")
    return 1


def newsyslog_main(process: Process) -> int:
    return 0


def pwd_mkdb_main(process: Process) -> int:
    options = Options(
        process, "BCiLNpd:s:u:v", "usage: pwd_mkdb [-BCiLNp] [-d directory] [-s cachesize] [-u username] file", 1
    )

    def check(operand: str) -> int:
        access.read_all(process, operand)
        return 0

    return each(process, options.operands, check)


def cap_mkdb_main(process: Process) -> int:
    """cap_mkdb(1): what it makes of a file depends on the file alone, here as there."""
    from jails.hosts.simulated.base import capability_database
    from jails.hosts.simulated.world import World

    options = Options(process, "bvf:l", "usage: cap_mkdb [-b | -l] [-v] [-f outfile] file [file ...]", 1)
    if not options.operands:
        access.wrong_usage(process, "", "usage: cap_mkdb [-b | -l] [-v] [-f outfile] file [file ...]", 1)

    def build(operand: str) -> int:
        text = access.read_all(process, operand)
        World(process).write_text(f"{options.get('f') or operand}.db", capability_database(text))
        return 0

    return each(process, options.operands, build)


def shutdown_main(process: Process) -> int:
    words = process.argv[1:]
    if "-r" not in words or words[-1:] != ["now"]:
        access.wrong_usage(
            process,
            "",
            "usage: shutdown [-] [-c | -f | -h | -p | -r | -k] [-o [-n]] [-q] time [warning-message ...]",
            1,
        )
    from . import rc

    return int(rc.reboot(process) or 0)


def reboot_main(process: Process) -> int:
    if process.jid:
        process.exit(1, "SIGTSTP init: No such process")
    from . import rc

    return int(rc.reboot(process) or 0)


def yes_main(process: Process) -> int:
    line = os.fsencode(" ".join(process.argv[1:]) or "y") + b"\n"
    while True:
        process.write(1, line * 512)


def daemon_main(process: Process) -> int:
    """daemon(8): the program goes on in the background, by default with the standard files as they are."""
    usage = (
        "usage: daemon [-cfrS] [-p child_pidfile] [-P supervisor_pidfile]\n"
        "              [-u user] [-o output_file] [-t title]\n"
        "              [-l syslog_facility] [-s syslog_priority]\n"
        "              [-T syslog_tag] [-m output_mask] [-R restart_delay_secs]\ncommand arguments ..."
    )
    options = Options(process, "cfHl:m:o:p:P:rR:Ss:t:T:u:", usage, 1)
    if not options.operands:
        access.wrong_usage(process, "", usage, 1)
    try:
        process.find_program(options.operands[0])
    except NotFound as problem:
        process.exit(1, f"{options.operands[0]}: {problem.words}")
    from jails.hosts.simulated.world import World

    fds = dict(process.fds)
    null = os.open(os.devnull, os.O_RDWR)
    if "f" in options:
        fds = {0: null, 1: null, 2: null}
    if (output := options.get("o")) is not None:
        log = access.open_file(process, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fds |= {1: log, 2: log}
    cwd = "/" if "c" in options else process.cwd
    pid = World(process).background(options.operands, fds=fds, cwd=cwd, user=options.get("u"))
    for letter in ("p", "P"):
        if (file := options.get(letter)) is not None:
            real = access.open_file(process, file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(real, f"{pid}".encode())
            os.close(real)
    return 0


def pkg_main(process: Process) -> int:
    """Only its bootstrap is there: pkg(7), not pkg(8)."""
    if "-N" in process.argv[1:]:
        process.err("pkg: pkg is not installed\n")
        return 1
    process.err(
        "The package management tool is not yet installed on your system.\n"
        "Do you want to fetch and install it now? [y/N]: \n"
    )
    return 1


# Who, when, what


def id_main(process: Process) -> int:
    options = Options(process, "AGMPacdgnpru", "usage: id [user]", 1)
    users = access.account_names(process, "/etc/passwd")
    groups = access.account_names(process, "/etc/group")
    name = options.operands[0] if options.operands else process.user
    if name not in users and not options.operands:
        return _id_of_nobody_known(process)
    if name not in users:
        process.err(f"id: {name}: no such user\n")
        return 1
    uid = users[name]
    rows = [row.split(":") for row in _text(process, "/etc/passwd").splitlines()]
    gid = next((int(row[3]) for row in rows if row[0] == name), 0)
    member = [
        int(row[2])
        for row in (line.split(":") for line in _text(process, "/etc/group").splitlines())
        if len(row) > 3 and name in row[3].split(",")
    ]
    all_groups = [gid, *(one for one in member if one != gid)]
    by_name = "n" in options
    if "u" in options:
        process.out((name if by_name else str(uid)) + "\n")
    elif "G" in options:
        process.out(" ".join(access.name_of(groups, one) if by_name else str(one) for one in all_groups) + "\n")
    elif "g" in options:
        process.out((access.name_of(groups, gid) if by_name else str(gid)) + "\n")
    else:
        shown = ",".join(f"{one}({access.name_of(groups, one)})" for one in all_groups)
        process.out(f"uid={uid}({name}) gid={gid}({access.name_of(groups, gid)}) groups={shown}\n")
    return 0


def _id_of_nobody_known(process: Process) -> int:
    """In a tree without a password file root is a number."""
    process.out("uid=0 gid=0 groups=0,5\n" if process.user == "root" else "uid=65534 gid=65534 groups=65534\n")
    return 0


def _text(process: Process, path: str) -> str:
    try:
        return process.path(path).read_text(errors="replace")
    except OSError:
        return ""


def whoami_main(process: Process) -> int:
    process.out(f"{process.user}\n")
    return 0


def which_main(process: Process) -> int:
    options = Options(process, "as", "usage: which [-as] program ...", 1)
    failed = 0
    for name in options.operands:
        found = None
        for directory in (process.env.get("PATH") or "").split(":") if "/" not in name else [""]:
            try:
                process.find_program(f"{directory}/{name}" if directory else name)
                found = f"{directory}/{name}" if directory else name
                break
            except NotFound:
                continue
        if found is None:
            failed = 1
        elif "s" not in options:
            process.out(found + "\n")
    return failed


def date_main(process: Process) -> int:
    import calendar

    usage = "usage: date [-jnRu] [-I[date|hours|minutes|seconds|ns]] [-f input_fmt]"
    options = Options(process, "jnRuf:r:v:I:z:", usage, 1)
    with process.host.reading() as state:
        moment = clock.now() + float(state.get("skew", 0))
    words = list(options.operands)
    if words and not words[0].startswith("+") and not {"j", "f"} & {letter for letter, _ in options.all}:
        return _set_date(process, words[0])
    if "r" in options:
        text = options.get("r") or ""
        moment = float(text) if text.isdigit() else process.path(text).stat().st_mtime
    if "f" in options and words:
        try:
            moment = calendar.timegm(time.strptime(words.pop(0), options.get("f") or ""))
        except ValueError:
            process.exit(1, "illegal time format")
    form = words[0][1:] if words and words[0].startswith("+") else "%a %b %e %H:%M:%S UTC %Y"
    if "R" in options:
        form = "%a, %d %b %Y %H:%M:%S +0000"
    form = (
        form.replace("%s", str(int(moment)))
        .replace("%N", f"{int(moment % 1 * 1e9):09d}")
        .replace("%Z", "UTC")
        .replace("%z", "+0000")
    )
    process.out(time.strftime(form, time.gmtime(moment)) + "\n")
    return 0


def _set_date(process: Process, text: str) -> int:
    if not re.fullmatch(r"(\d\d){1,6}(\.\d\d)?", text):
        process.exit(1, "illegal time format")
    if process.jid:
        process.err("date: timed: Protocol not supported\n" if not process.release_at_least(13) else "")
        process.exit(1, "settimeofday (timeval): Operation not permitted")
    process.exit(1, "settimeofday (timeval): the clock of a simulated host is the machine's")


def uuidgen_main(process: Process) -> int:
    options = Options(process, "1cn:o:r", "usage: uuidgen [-1] [-r] [-c] [-n count] [-o filename]", 1)
    for _ in range(int(options.get("n") or 1)):
        text = os.urandom(16).hex()
        process.out(f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}\n")
    return 0


def logger_main(process: Process) -> int:
    options = Options(
        process, "46Ais:f:H:h:P:p:S:t:", "usage: logger [-46Ais] [-f file] [-h host] [-P port] [-p pri] [-t tag]", 1
    )
    text = " ".join(options.operands) if options.operands else os.fsdecode(process.stdin()).rstrip("\n")
    with process.host.reading() as state:
        name = hostname_of(process, state).partition(".")[0]
    stamp = time.strftime("%b %e %H:%M:%S", time.gmtime(clock.now()))
    tag = options.get("t") or "root"
    real = access.open_file(process, "/var/log/messages", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(
            real, os.fsencode("".join(f"{stamp} {name} {tag}[{os.getpid()}]: {line}\n" for line in text.splitlines()))
        )
    finally:
        os.close(real)
    return 0


def ssh_keygen_main(process: Process) -> int:
    """Pairs of files of the right form and mode. They are no keys: nothing on a simulated host logs in with them."""
    options = Options(
        process,
        "AlqyBvb:t:f:N:C:E:P:Rm:a:",
        "usage: ssh-keygen [-q] [-a rounds] [-b bits] [-C comment] [-f output_keyfile] [-m format]",
        1,
    )
    if "l" in options:
        return _fingerprint(process, options.get("f") or "/etc/ssh/ssh_host_ed25519_key.pub")
    if "A" in options:
        made = []
        for kind in ("rsa", "ecdsa", "ed25519"):
            path = f"{(options.get('f') or '').rstrip('/')}/etc/ssh/ssh_host_{kind}_key"
            if not process.locate(path).exists:
                _make_pair(process, path, kind, "root@" + process.env.get("HOSTNAME", ""))
                made.append(kind.upper())
        if made and "q" not in options:
            process.out(f"ssh-keygen: generating new host keys: {' '.join(made)} \n")
        return 0
    kind = options.get("t") or "ed25519"
    if kind not in ("rsa", "ecdsa", "ed25519"):
        process.err(f"unknown key type {kind}\n")
        return 255
    path = options.get("f") or f"/root/.ssh/id_{kind}"
    if process.locate(path).exists:
        process.err(f"{path} already exists.\n")
        return 1
    _make_pair(process, path, kind, options.get("C") or "root")
    if "q" not in options:
        process.out(
            f"Generating public/private {kind} key pair.\nYour identification has been saved in {path}\n"
            f"Your public key has been saved in {path}.pub\n"
        )
    return 0


def _make_pair(process: Process, path: str, kind: str, comment: str) -> None:
    import base64

    secret = base64.b64encode(os.urandom(48)).decode()
    name = {"rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ssh-ed25519"}[kind]
    blob = base64.b64encode(len(name).to_bytes(4, "big") + name.encode() + os.urandom(36)).decode()
    texts = {
        path: f"-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n-----END OPENSSH PRIVATE KEY-----\n",
        f"{path}.pub": f"{name} {blob} {comment}\n",
    }
    for one, text in texts.items():
        real = access.open_file(process, one, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(real, text.encode())
        finally:
            os.close(real)
    access.set_mode(process, process.locate(path), 0o600)


def _fingerprint(process: Process, path: str) -> int:
    import base64
    import hashlib

    text = _text(process, path) or _text(process, path + ".pub")
    words = text.split()
    if len(words) < 2:
        process.err(f"{path}: No such file or directory\n" if not text else f"{path} is not a public key file.\n")
        return 255
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(words[1])).digest()).decode().rstrip("=")
    kind = words[0].rpartition("-")[2].upper()
    process.out(f"256 SHA256:{digest} {' '.join(words[2:]) or 'no comment'} ({kind})\n")
    return 0
