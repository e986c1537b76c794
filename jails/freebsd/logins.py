"""Logins of a jail and their keys, changed from inside: scripts for the jail's own sh, run as its root.

Where the jail runs they run in it, else in a jail of its own on the same tree, without network. What they find there
was made by the jail's people, so nothing outside can be reached by a link; and a login's file is written with that
login's own rights (chroot(8) -u), so that one who plants a link in his home gains nothing inside either.

`chroot / …` takes user and groups by number, asks no PAM and needs no /dev, which su(1) does. No script redirects to
/dev/null: without devfs that would make a file.
"""

from __future__ import annotations

from collections.abc import Iterable

from jails.freebsd import names
from jails.freebsd.command import Argv, argv
from jails.freebsd.publickey import MARK, PublicKey

FIRST_UID = 1000
"""pw(8), minuid of pw.conf(5): below are accounts of the system."""
FILE_MAX = 262144
"""Bytes of an authorized_keys that is still read."""

INSIDE = """\
name=$1 alone=$2 path=$3 script=$4
shift 4
if jls -j "$name" jid >/dev/null 2>&1; then
exec jexec -l "$name" /bin/sh -c "$script" sh running "$@"
fi
if [ -z "$path" ]; then echo "$name does not run" >&2; exit 1; fi
set -- command=/bin/sh -c "$script" sh stopped "$@"
exec jail -c "name=$alone" "path=$path" exec.clean ip4=disable ip6=disable "$@\""""
"""On the host. Each script below gets `running` or `stopped` as its first argument."""

_ENTRY = """\
entry=$(pw usershow -n "$login" 2>&1) || entry=
uid= gid= home=
case $entry in
"$login":*)
set -f
old=$IFS
IFS=:
set -- $entry
IFS=$old
uid=$3 gid=$4 home=$9
;;
esac
"""

MAKE_LOGIN = f"""\
login=$2 words=$3
{_ENTRY}if [ "$uid" ]; then
if [ "$uid" -ge {FIRST_UID} ]; then exit 0; fi
echo "$login is an account of the system: choose another login" >&2
exit 1
fi
exec pw useradd -n "$login" -c "$words" -m -s /bin/sh -G wheel -h -"""

ENABLE_SSHD = """\
sysrc sshd_enable=YES || exit
if [ "$1" = stopped ]; then exit 0; fi
if said=$(service sshd onestatus 2>&1); then exit 0; fi
exec service sshd start"""

KEYS = f"""\
login=$2 mark=$3 script=$4
wanted=$(cat)
{_ENTRY}case $wanted in
+*) adds=yes ;;
*) adds= ;;
esac
if [ -z "$uid" ]; then
if [ -z "$adds" ]; then echo "there is no login $login"; exit 0; fi
echo "there is no login $login" >&2
exit 1
fi
if [ "$adds" ] && [ "$uid" -lt {FIRST_UID} ]; then
echo "$login is an account of the system: choose another login" >&2
exit 1
fi
if [ ! -e "$home" ] && [ ! -L "$home" ] && [ -z "$adds" ]; then echo "$login has no home"; exit 0; fi
printf '%s\\n' "$wanted" | chroot -u "$uid" -g "$gid" -G "$gid" / /bin/sh -c "$script" sh "$home" "$mark\""""

AS_LOGIN = f"""\
home=$1 mark=$2
umask 077
end='
'
add= gone= bodies=
no() {{
echo "$1" >&2
exit 1
}}
while read -r sign type body comment; do
case $sign in
+) add="$add$type $body $comment$end" bodies="$bodies $body" ;;
-) gone="$gone $type" ;;
esac
done
cd "$home" || exit
if [ -L .ssh ]; then no "$home/.ssh is a link: its keys are left alone"; fi
if [ ! -e .ssh ]; then
if [ -z "$add" ]; then exit 0; fi
mkdir .ssh || exit
fi
if [ ! -d .ssh ]; then no "$home/.ssh is no folder"; fi
cd .ssh || exit
if [ -L authorized_keys ]; then no "$home/.ssh/authorized_keys is a link: its keys are left alone"; fi
if [ -e authorized_keys ] && [ ! -f authorized_keys ]; then no "$home/.ssh/authorized_keys is no file"; fi
kept= have= changed=
if [ -f authorized_keys ]; then
size=$(wc -c <authorized_keys) || exit
if [ "$size" -gt {FILE_MAX} ]; then no "$home/.ssh/authorized_keys is too large"; fi
while IFS= read -r line || [ -n "$line" ]; do
drop=
case " $line " in
' #'*) ;;
*[!a-zA-Z0-9]"$mark"[!a-zA-Z0-9]*)
drop=yes
for body in $bodies; do
case $line in *"$body"*) drop= have="$have $body " ;; esac
done
;;
*[!a-zA-Z0-9]cellblock:[0-9]*) ;;
*)
for body in $bodies; do
case $line in *"$body"*) have="$have $body " ;; esac
done
for body in $gone; do
case $line in *"$body"*) drop=yes ;; esac
done
;;
esac
if [ "$drop" ]; then changed=yes; else kept="$kept$line$end"; fi
done <authorized_keys || exit
fi
while read -r type body comment; do
case $have in
*" $body "*) continue ;;
esac
if [ "$body" ]; then kept="$kept$type $body $comment$end" changed=yes; fi
done <<END
$add
END
if [ -z "$changed" ]; then exit 0; fi
new=$(mktemp authorized_keys.XXXXXXXX) || exit
if printf '%s' "$kept" >"$new" && mv -f "$new" authorized_keys; then exit 0; fi
rm -f "$new"
exit 1"""
"""As the login itself. Lines with the mark are the panel's: one whose key is not wanted goes, others stay as they are.
A key that goes, goes from a line without a mark too; lines marked as another person's, and comments, are never touched.
"""


def inside(name: str, alone: str, path: str, script: str, *arguments: str) -> Argv:
    """Run a script in the jail `name`; where it does not run, in one called `alone` at `path` ("": only if it runs)."""
    names.require("name", name, names.jail_reference_error)
    names.require("alone", alone, names.jail_name_error)
    if path:
        names.require("path", path, names.path_error)
    return argv("sh", "-c", INSIDE, "sh", name, alone, path, script, *arguments)


def make(name: str, alone: str, path: str, login: str, words: str) -> Argv:
    """Have a login, in the group wheel and with no password. One of the jail's people stays as it is."""
    names.require("words", words, names.text_error)
    if ":" in words:
        raise ValueError("words: passwd(5) has no “:” in them")
    return inside(name, alone, path, MAKE_LOGIN, _login(login), words)


def enable_sshd(name: str, alone: str, path: str) -> Argv:
    return inside(name, alone, path, ENABLE_SSHD)


def change_keys(name: str, alone: str, path: str, login: str, person: int) -> Argv:
    """Needs `wishes` on its standard input."""
    return inside(name, alone, path, KEYS, _login(login), MARK.format(person=person), AS_LOGIN)


def wishes(person: int, wanted: Iterable[PublicKey], gone: Iterable[str]) -> str:
    """What `change_keys` reads: the keys that the person is to have, then the bodies of those that go."""
    add = [f"+ {key.marked(person)}\n" for key in wanted]
    return "".join([*add, *(f"- {body}\n" for body in gone)])


def login_error(value: str) -> str | None:
    """What is no login that the panel makes: the names of accounts that every FreeBSD has among it."""
    problem = names.user_name_error(value)
    return problem or ("is an account of the system." if value in SYSTEM else None)


SYSTEM = frozenset((
    "root", "toor", "daemon", "operator", "bin", "tty", "kmem", "games", "news", "man",
    "sshd", "smmsp", "mailnull", "bind", "unbound", "proxy", "_pflogd", "_dhcp", "uucp", "pop",
    "auditdistd", "www", "ntpd", "_ypldap", "hast", "tests", "nobody",
))  # fmt: skip
"""etc/master.passwd of FreeBSD."""


def _login(value: str) -> str:
    return names.require("login", value, login_error)
