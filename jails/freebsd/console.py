"""A terminal inside a jail, and one line of shell: what a person types is run there alone, never on the host.

A terminal of the host is none inside a jail, whose devfs shows only its own: script(1) makes one in there. The end of a
channel ends nothing in the jail; so `cat` stands before it on the host, and once its input ends, whoever ended it, what
runs on that terminal is ended from the host (`_OUTER`). Nothing on the way reads a path of the jail's tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jails.freebsd import names
from jails.freebsd.command import Argv, argv

TERM = "xterm-256color"
"""termcap(5) of base knows it from 9 on."""
SMALLEST, LARGEST = 2, 500
"""Rows and columns."""

_TOKEN = re.compile(r"[0-9a-f]{32}")
_TTY = re.compile(r"/dev/(pts/[0-9]{1,6})")

# Runs in the jail as its user. The name of the terminal goes out on descriptor 3, which nothing after it gets.
# sh(1) has no -l: what it would read as a login shell is read for it.
_INNER = """\
stty rows "$2" columns "$1"
printf "tty %s %s\\n" "$0" "$(tty)" >&3
exec 3>&-
case "${SHELL##*/}" in
csh|tcsh|bash|zsh|fish) exec "$SHELL" -l ;;
sh) for f in /etc/profile "$HOME/.profile"; do [ -r "$f" ] && . "$f"; done ;;
esac
exec "${SHELL:-/bin/sh}" -i
"""

# Runs on the host; what varies is a positional parameter. pgrep(1) leaves out its ancestors, so while it finds the mark
# anywhere, the jail's side still runs. A leader of a session is a child of script(1); the session is what is on its
# terminal, and is killed before script(1), without which it could not be found any more. What was put into a session of
# its own (a daemon) goes on, as after any login. `-j any`: it may have gone on in a jail inside this one, and where its
# number has become another one's meanwhile, that is never a session of the host.
_OUTER = """\
jid=$1 user=$2 mark=$3 secret=$4 columns=$5 rows=$6 term=$7 inner=$8
finish() {
    for script in $(pgrep -j "$jid" -f "$mark"); do
        for leader in $(pgrep -P "$script"); do
            pkill "-$1" -j any -s "$leader"
        done
    done
}
end() {
    finish HUP
    pgrep -q -f "$mark" || return 0
    sleep 1
    for try in 1 2 3 4; do
        finish KILL
        pkill -KILL -j "$jid" -f "$mark"
        pgrep -q -f "$mark" || return 0
        sleep 1
    done
} >/dev/null 2>&1
exec 3>&2
{ cat; exec 3>&-; end; } | {
    env "TERM=$term" jexec -l -U "$user" "$jid" script -q /dev/null sh -c "$inner" "$mark" "$columns" "$rows" 2>&1
    printf 'end %s %s\\n' "$secret" "$?" >&3
}
"""

# All of standard input is the text, so that what it runs finds an empty one, and no ps(1) shows it.
_LINE = 'exec 2>&1; eval "$(cat)"'


@dataclass(frozen=True)
class Tokens:
    """`mark` is seen inside the jail, among the words of processes; `secret` is not. 32 hexadecimal digits each."""

    mark: str
    secret: str

    def __post_init__(self) -> None:
        for value in (self.mark, self.secret):
            if not _TOKEN.fullmatch(value):
                raise ValueError("token: expected 32 hexadecimal digits")


def terminal(jid: int, user: str, tokens: Tokens, *, columns: int, rows: int) -> Argv:
    """A login shell of that user on a terminal in the jail: standard input and output are the terminal's.

    Standard error is for the panel: lines that `told` reads.
    """
    size = (str(size_of(columns)), str(size_of(rows)))
    return argv("sh", "-c", _OUTER, "sh", _jid(jid), _user(user), tokens.mark, tokens.secret, *size, TERM, _INNER)


def resize(jid: int, user: str, tty: str, *, columns: int, rows: int) -> Argv:
    """Tell that terminal (`pts/3`) its size, from inside: the name came out of the jail and must mean nothing else."""
    if not _TTY.fullmatch(f"/dev/{tty}"):
        raise ValueError(f"tty: expected the name of a terminal like pts/3, got {tty!r}")
    size = ("rows", str(size_of(rows)), "columns", str(size_of(columns)))
    return argv("jexec", "-l", "-U", _user(user), _jid(jid), "stty", "-f", f"/dev/{tty}", *size)


def line(jid: int, user: str, *, seconds: int) -> Argv:
    """Run what comes on standard input with the jail's sh, both outputs as one; after that time all of it is ended.

    timeout(1) of base waits for all that descends from its command, daemons too (PROC_REAP_ACQUIRE of procctl(2)), and
    ends that where the time is over; its status then is 124. So a service that is started here does not stay.
    """
    return argv("timeout", "-k", "3", str(seconds), "jexec", "-l", "-U", _user(user), _jid(jid), "sh", "-c", _LINE)


def told(text: bytes, tokens: Tokens) -> tuple[str, int | None]:
    """What standard error of `terminal` says so far: the terminal's name (`pts/3`, "" not yet) and the exit status.

    The name comes from the jail and may be a lie; the status is told with a word that the jail does not know.
    """
    tty, status = "", None
    for line in text.decode("utf-8", "replace").splitlines():
        words = line.split(" ")
        if not tty and words[:2] == ["tty", tokens.mark] and len(words) == 3 and (found := _TTY.fullmatch(words[2])):
            tty = found[1]
        if words[:2] == ["end", tokens.secret] and len(words) == 3 and words[2].isdigit():
            status = int(words[2])
    return tty, status


def size_of(number: int) -> int:
    """A number of rows or columns within what terminals have; ValueError for what is no number."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"size: expected a number, got {number!r}")
    return max(SMALLEST, min(LARGEST, number))


def _jid(jid: int) -> str:
    """A jid, just asked of jls(8): a jail that was started anew meanwhile has another."""
    if isinstance(jid, bool) or not isinstance(jid, int) or jid < 1:
        raise ValueError(f"jid: expected a number above 0, got {jid!r}")
    return str(jid)


def _user(user: str) -> str:
    return names.require("user", user, names.user_name_error)
