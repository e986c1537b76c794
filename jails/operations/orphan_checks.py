"""Questions to a host that ask whether something still is nobody's, and still what was shown."""

from __future__ import annotations

from jails.freebsd import devfs, ifconfig, jls, mount, rctl, sockstat
from jails.freebsd.command import Argv
from jails.hosts.facts import plain_address
from jails.hosts.orphans import bound
from jails.operations.checks import Question, register


def _sh(text: str, *args: str) -> Argv:
    return ("sh", "-c", text, "sh", *args)


def _bytes(answer: str) -> bytes:
    return answer.encode("utf-8", "surrogateescape")


# What jail(8) and rc.d/jail read. None of them has to be there; grep(1) says 1 where no line matches.
_CONFIGURED = (
    "cat /etc/rc.conf /etc/rc.conf.local /etc/rc.conf.d/* /etc/jail.conf /etc/jail.*.conf /etc/jail.conf.d/*.conf "
    '/etc/fstab /etc/fstab.* 2>/dev/null | grep -F -c -w -e "$1" || [ $? -eq 1 ]'
)


@register
def not_configured(word: str) -> Question:
    """No file of rc.conf(5), jail.conf(5) or fstab(5) mentions it."""
    return Question(_sh(_CONFIGURED, word), lambda answer: answer == "0\n", f"no configuration file mentions {word}")


@register
def no_jail_uses(path: str) -> Question:
    """No jail, not even a dying one, has its root there, below it, or above it (a jail in / does not count)."""
    return Question(jls.LIST, lambda answer: not _uses(answer, path), f"no jail uses {path}")


def _uses(answer: str, path: str) -> bool:
    roots = [jail.path.rstrip("/") for jail in jls.parse(_bytes(answer))]
    return any(root and (f"{root}/".startswith(f"{path}/") or f"{path}/".startswith(f"{root}/")) for root in roots)


@register
def no_jail_has(ip: str) -> Question:
    """No jail, not even a dying one, has that address."""
    return Question(
        jls.LIST,
        lambda answer: all(ip not in map(plain_address, jail.addresses) for jail in jls.parse(_bytes(answer))),
        f"no jail has {ip}",
    )


@register
def no_jail_is_held_to(ruleset: str) -> Question:
    number = int(ruleset)
    return Question(
        jls.LIST,
        lambda answer: all(jail.number("devfs_ruleset", 0) != number for jail in jls.parse(_bytes(answer))),
        f"no jail is held to the device rules {ruleset}",
    )


@register
def nobody_listens_on(ip: str) -> Question:
    """No socket waits on just that address, of a daemon that was told to."""
    return Question(
        sockstat.LISTENING,
        lambda answer: all(one.ip.partition("%")[0] != ip for one in bound(sockstat.parse(_bytes(answer)))),
        f"nobody listens on {ip}",
    )


@register
def no_dataset_below(dataset: str) -> Question:
    text = 'zfs list -H -r -d 1 -t filesystem,volume -o name "$1" 2>/dev/null || zpool list -H -o name "$2" >/dev/null'
    return Question(
        _sh(text, dataset, dataset.partition("/")[0]),
        lambda answer: set(answer.splitlines()) <= {dataset},
        f"there is no dataset below {dataset}",
    )


@register
def mounted_as(path: str, device: str, kind: str) -> Question:
    """Just this is mounted there."""
    return Question(
        mount.LIST,
        lambda answer: (
            [(row.device, row.type) for row in mount.parse(_bytes(answer)) if row.path == path] == [(device, kind)]
        ),
        f"{device} ({kind}) is mounted on {path}",
    )


@register
def epair_idle(a: str, b: str, ether: str, bridge: str) -> Question:
    """Both ends are on the host, without addresses; the first has that MAC address and is in that bridge ("": none)."""
    words = f"{a} and {b} are both on the host, unused, {f'the first in {bridge}' if bridge else 'and in no bridge'}"
    return Question(ifconfig.LIST, lambda answer: _is_idle(answer, a, b, ether, bridge), words)


def _is_idle(answer: str, a: str, b: str, ether: str, bridge: str) -> bool:
    found = {one.name: one for one in ifconfig.parse(_bytes(answer))}
    ends = [found[name] for name in (a, b) if name in found]
    bridges = [one.name for one in found.values() if {a, b} & set(one.members)]
    addresses = [one.ip for end in ends for one in end.addresses if not one.ip.startswith("fe80:")]
    return len(ends) == 2 and ends[0].ether == ether and bridges == ([bridge] if bridge else []) and not addresses


@register
def no_interface(name: str) -> Question:
    return Question(
        ifconfig.LIST,
        lambda answer: all(one.name != name for one in ifconfig.parse(_bytes(answer))),
        f"there is no interface {name}",
    )


@register
def rule_there(rule: str) -> Question:
    """Just this rule of rctl(8), with its amount."""
    return Question(
        rctl.LIST, lambda answer: rule in map(str, rctl.parse(_bytes(answer))), f"the limit {rule} is in force"
    )


@register
def ruleset_is(number: str, *rules: str) -> Question:
    """The kernel's set of device rules has just these."""
    return Question(
        ("sh", "-c", devfs.SHOW_ALL),
        lambda answer: devfs.Ruleset(int(number), rules) in devfs.parse_all(_bytes(answer)),
        f"the set of device rules {number} is what it was",
    )


@register
def no_ruleset(number: str) -> Question:
    return Question(
        devfs.SHOW_SETS,
        lambda answer: int(number) not in devfs.parse_sets(_bytes(answer)),
        f"there is no set of device rules {number}",
    )
