"""What makes one FreeBSD system known from another, or belongs to the people who used it, and must not be in a copy.

The work is done inside a jail on the tree, by the tree's own sh and tools: a tree that a tenant has had is never walked
by the host. So the tenant decides what these tools do. What this protects is the secrets of those who had the tree from
those who get a copy of it; against a tree that lies about itself nothing helps but not using it.

The script is one fixed text. It prints a line `WHAT: PATH` for each thing, before it touches it.
"""

import re

from jails.freebsd.command import Argv, argv

IDENTITY = "identity"
"""What two systems must not share: keys of the host, ids, entropy, leases."""
EVERYTHING = "everything"
"""That, and what tells of the people who had it: keys, passwords, histories, logs, mail."""
EXTENTS = (IDENTITY, EVERYTHING)

LIST = "list"
REMOVE = "remove"

WHAT = (
    "ssh host key",
    "host id",
    "entropy",
    "lease",
    "authorized keys",
    "ssh key",
    "ssh known hosts",
    "stored password",
    "password hash",
    "shell history",
    "mail",
    "log",
    "temporary file",
)
"""What is cleaned, as the script names it, in the order of a list for people."""

MOST = 2000
"""Entries that are kept of what a tree says was cleaned in it."""

# No devfs is mounted where this runs: a redirection to /dev/null would make a file of that name.
# hostid_save (etc/rc.d) writes the ids anew at the next start, sshd its keys, random the entropy.
SCRIPT = """\
PATH=/sbin:/bin:/usr/sbin:/usr/bin
cd / || exit
act=$1
extent=$2

gone() {
    what=$1
    shift
    for path do
        [ -e "$path" ] || [ -L "$path" ] || continue
        printf '%s: %s\\n' "$what" "$path"
        [ "$act" = list ] || rm -rf "$path"
    done
}

identity() {
    gone 'ssh host key' /etc/ssh/ssh_host_* /usr/local/etc/ssh/ssh_host_*
    gone 'host id' /etc/hostid /etc/machine-id /var/db/dbus/machine-id /var/lib/dbus/machine-id
    gone 'entropy' /entropy /boot/entropy /var/db/entropy-file /var/db/entropy/*
    gone 'lease' /var/db/dhclient.leases* /var/db/dhclient6.leases* /var/db/dhcp6c_duid /var/db/dhcpcd/*
}

home() {
    case $1 in
    /*) ;;
    *) return ;;
    esac
    home=${1%/}
    gone 'authorized keys' "$home"/.ssh/authorized_keys*
    gone 'ssh key' "$home"/.ssh/id_* "$home"/.ssh/identity*
    gone 'ssh known hosts' "$home"/.ssh/known_hosts*
    gone 'stored password' "$home"/.netrc "$home"/.pgpass "$home"/.my.cnf "$home"/.git-credentials
    gone 'shell history' "$home"/.history "$home"/.*_history "$home"/.zhistory "$home"/.lesshst "$home"/.viminfo \\
        "$home"/.local/share/fish/fish_history
    gone 'mail' "$home"/mbox "$home"/dead.letter "$home"/Maildir
}

homes() {
    while IFS=: read -r name password uid gid gecos place shell; do
        home "$place"
    done </etc/passwd
    for place in /root /home/* /usr/home/*; do
        home "$place"
    done
}

passwords() {
    gone 'password hash' /etc/master.passwd.* /etc/passwd.* /etc/spwd.db.* /var/backups/master.passwd*
    while IFS=: read -r name hash rest; do
        case $name in
        '' | [-+#]*) continue ;;
        esac
        case $hash in
        '*' | '*LOCKED**') continue ;;
        esac
        printf 'password hash: %s\\n' "$name"
        [ "$act" = list ] && continue
        pw usermod -n "$name" -h -
        case $hash in
        '*LOCKED*'*) pw lock "$name" ;;
        esac
    done </etc/master.passwd
}

log() {
    case $1 in
    *.[0-9] | *.[0-9][0-9] | *.bz2 | *.gz | *.xz | *.zst | *.old | /var/crash/*) gone 'log' "$1" ;;
    *)
        printf 'log: %s\\n' "$1"
        [ "$act" = list ] || truncate -s 0 "$1"
        ;;
    esac
}

logs() {
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -L "$entry" ]; then
            continue
        elif [ -d "$entry" ]; then
            logs "$entry"
        elif [ -f "$entry" ] && [ -s "$entry" ]; then
            log "$entry"
        fi
    done
}

everything() {
    homes
    passwords
    gone 'mail' /var/mail/* /var/spool/mqueue/* /var/spool/clientmqueue/* /var/spool/dma/*
    for place in /var/log /var/account /var/audit /var/crash; do
        logs "$place"
    done
    for place in /tmp /var/tmp; do
        gone 'temporary file' "$place"/* "$place"/.[!.]* "$place"/..?*
    done
}

clean() {
    identity
    [ "$extent" = identity ] || everything
}

clean
[ "$act" = list ] && exit
act=list
left=$(clean)
[ -z "$left" ] && exit
printf 'could not be cleaned: %s\\n' "$left" >&2
exit 1
"""

_LINE = re.compile(f"({'|'.join(WHAT)}): (.{{1,300}})")


def command(action: str, extent: str) -> Argv:
    """For a jail on the tree: LIST prints what there is to clean, REMOVE cleans it and fails where some is left."""
    if action not in (LIST, REMOVE) or extent not in EXTENTS:
        raise ValueError(f"cleaning: expected list or remove, and one of {', '.join(EXTENTS)}")
    return argv("/bin/sh", "-c", SCRIPT, "sh", action, extent)


def parse(output: str) -> tuple[tuple[str, str], ...]:
    """(what, path) of each line that is one, without repetitions, at most MOST. The tree says it: believe none of it.

    For display. A path that cannot be shown as it is, is left out.
    """
    found: dict[tuple[str, str], None] = {}
    for line in output.split("\n"):
        match = _LINE.fullmatch(line)
        if match and match[2].isprintable() and len(found) < MOST:
            found[match[1], match[2]] = None
    return tuple(sorted(found, key=lambda entry: WHAT.index(entry[0])))
