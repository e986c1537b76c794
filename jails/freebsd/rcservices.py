"""service(8) inside a jail: which services there are, which start with it and which run; and changing one of them.

The work is done by the jail's own sh and rc.d scripts, and what they print is whatever root of the jail wants it to be.
"""

import re
from dataclasses import dataclass

from jails.freebsd import jexec, names
from jails.freebsd.command import Argv

SERVICE = "/usr/sbin/service"
VERBS = ("onestart", "onestop", "enable", "disable")
MOST = 300
"""Services that are listed, and asked for their status."""

# A status is asked of what starts with the jail and of what packages brought; `one` also of what is not enabled. Only
# the first line counts: rc.subr(8) says `NAME is running as pid 12.` or `NAME is not running.`, and a script that knows
# no status says something else.
SCRIPT = """\
PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin
cd / || exit
enabled=$(service -e) || exit
for path in $enabled; do printf 'enabled %s\\n' "$path"; done
for name in $(service -l); do printf 'known %s\\n' "$name"; done
seen=' '
for path in $enabled /usr/local/etc/rc.d/*; do
    name=${path##*/}
    case $seen in *" $name "*) continue ;; esac
    seen="$seen$name "
    if [ "$path" = '/usr/local/etc/rc.d/*' ]; then continue; fi
    said=$(service "$name" onestatus 2>&1 </dev/null | head -n 1)
    printf 'status %s %s\\n' "$name" "$said"
done
"""
LIST: Argv = ("/bin/sh", "-c", SCRIPT)

_HIDDEN = """
DAEMON FILESYSTEMS LOGIN NETWORKING SERVERS addswap adjkerntz cleanvar cleartmp dmesg hostid hostid_save hostname
ip6addrctl kld kldxref ldconfig local localpkg motd msgs mountcritlocal mountcritremote mountlate netif newsyslog
nisdomain os-release random resolv rctl root routing savecore securelevel static_arp static_ndp stf swap swaplate
sysctl sysctl_lastload sysvipc tmp tzsetup utx var var_run virecover vnet zfs zfsbe zpool zvol zpoolupgrade zpoolreguid
"""
HIDDEN = frozenset(_HIDDEN.split())
"""Scripts of the base system that are no services: they set something up once, or only order others."""


@dataclass(frozen=True)
class Service:
    """`runs`: None where its script does not tell. `pid`: 0 where it does not run. `local`: a package brought it."""

    name: str
    enabled: bool
    runs: bool | None
    pid: int = 0
    local: bool = False


def name_error(value: str) -> str | None:
    """Of a script in rc.d: service(8) puts it behind a folder, so that no slash may be in it."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,62}", value):
        return None
    return "must be the name of a service: letters, digits, “_”, “-”, “.” and “+”, at most 63."


def parse(output: str) -> tuple[tuple[Service, ...], tuple[str, ...]]:
    """The services that start with the jail, run or came with a package, and the names of others that could.

    What is no line of LIST is left out: a script may print anything.
    """
    enabled: dict[str, bool] = {}
    known: dict[str, None] = {}
    status: dict[str, str] = {}
    for line in output.split("\n"):
        word, _, rest = line.partition(" ")
        name, _, said = rest.partition(" ")
        folder, _, name = name.rpartition("/")
        if name_error(name) or len(known) > 10 * MOST:
            continue
        if word == "enabled" and not said:
            enabled.setdefault(name, folder.startswith("/usr/local"))
        elif word == "known" and not said:
            known.setdefault(name)
        elif word == "status":
            status.setdefault(name, said)
    shown = [name for name in dict.fromkeys((*enabled, *status)) if name not in HIDDEN][:MOST]
    found = tuple(sorted((_service(name, enabled, status) for name in shown), key=lambda one: one.name))
    others = sorted(name for name in known if name not in HIDDEN and name not in shown)
    return found, tuple(others[:MOST])


def _service(name: str, enabled: dict[str, bool], status: dict[str, str]) -> Service:
    said = status.get(name, "")
    running = re.search(r" is running as pids? ([0-9]{1,10})", said)
    runs = True if running else False if said.endswith(" is not running.") else None
    return Service(name, name in enabled, runs, int(running[1]) if running else 0, enabled.get(name, name in status))


def change(jail: str, name: str, verb: str) -> Argv:
    """`service NAME VERB` inside a running jail. `enable` and `disable` leave it to the script which variable that is
    (rc.subr(8), by sysrc(8)); `onestart` and `onestop` ask no variable."""
    if verb not in VERBS:
        raise ValueError(f"verb: expected one of {', '.join(VERBS)}, got {verb!r}")
    return jexec.run(jail, (SERVICE, names.require("name", name, name_error), verb))
