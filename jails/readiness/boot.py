"""Whether the jails come back when the host does, and in the right order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jails.freebsd import names, rcconf
from jails.freebsd.boot import BootState
from jails.hosts.facts import JAIL_CONF, HostFacts
from jails.readiness.finding import Finding, Look, Status, listed


def jail_enable(look: Look) -> Iterable[Finding]:
    key, title, man = "jail_enable", "Jails start with the host", "rc.conf(5)"
    state = look.known.boot_state()
    configured = sorted(jail.name for jail in look.known.configured if "." not in jail.name)
    if state.mode != "off":
        yield Finding(key, Status.PASS, title, "jail_enable is YES.", man)
    elif configured:
        reason = f"jail_enable is not YES: after a restart of the host {listed(configured)} will not run."
        yield Finding(key, Status.FAIL, title, reason, man, fix="jail_enable")
    else:
        reason = "jail_enable is not YES. There are no jails yet; the first one that starts at boot turns it on."
        yield Finding(key, Status.WARN, title, reason, man, fix="jail_enable")


def jail_list(look: Look) -> Iterable[Finding]:
    key, title, man = "jail_list", "Every jail that shall start can", "jail(8)"
    facts, state = look.known, look.known.boot_state()
    if state.mode == "off":
        return
    if state.mode == "list":
        unknown = unconfigured(facts, state)
        if unknown:
            reason = f"jail_list names {listed(unknown)}, which no file describes: rc.d/jail warns and passes on."
            yield Finding(key, Status.FAIL, title, reason, man, fix="jail_list")
        else:
            count = len(state.boots_today)
            reason = (
                f"jail_list names {count} jail{'s' if count != 1 else ''}, each with a file of its own or in jail.conf."
            )
            yield Finding(key, Status.PASS, title, reason, man)
        return
    alone = sorted(jail.name for jail in facts.configured if jail.name not in state.everything and "." not in jail.name)
    if alone:
        reason = f"jail_list is empty, so {JAIL_CONF} starts, which does not include {listed(alone)}: they stay down."
        advice = "On the page of each jail say that it starts at boot; the plan names all that start then."
        yield Finding(key, Status.WARN, title, reason, man, advice=advice)
        return
    how = "with what it includes" if state.includes_folder else "as it is"
    yield Finding(
        key, Status.PASS, title, f"jail_list is empty: {JAIL_CONF} starts {how}, and no jail is left out.", man
    )


def unconfigured(facts: HostFacts, state: BootState) -> list[str]:
    """Names in jail_list that nothing on the host could start. Raises Missing where a file that is not read might."""
    known = {jail.name for jail in facts.configured} | set(state.own_files)
    conf = rcconf.parse(facts.rc_conf)
    found = [name for name in state.boots_today if not {name, _as_rc(name)} & known and not _in_rc_conf(conf, name)]
    if found:
        facts.require_includes()
    return found


def _as_rc(name: str) -> str:
    """A name of jail_list as rc.d/jail takes it."""
    return name.replace(".", "_").replace("/", "_")


def _in_rc_conf(conf: rcconf.RcConf, name: str) -> bool:
    """Whether variables of rc.conf define a jail or name its file; also where only sh could tell."""
    part = names.rc_variable_part(name)
    conf_file, rootdir, hostname = (f"jail_{part}_{key}" for key in ("conf", "rootdir", "hostname"))
    if not all(map(conf.is_certain, (conf_file, rootdir, hostname))):
        return True
    return bool(conf.get(conf_file) or (conf.get(rootdir) and conf.get(hostname)))


def boot_order(look: Look) -> Iterable[Finding]:
    key, title, man = "boot_order", "Jails start after those they depend on", "jail(8)"
    facts, state = look.known, look.known.boot_state()
    if state.mode != "list":
        return
    needs = dependencies(facts, state.boots_today)
    late = [(name, other) for name, others in needs.items() for other in others if not _before(state, other, name)]
    if not late:
        reason = (
            "No jail of jail_list depends on a later one."
            if any(needs.values())
            else "No jail of jail_list depends on another."
        )
        yield Finding(key, Status.PASS, title, reason, man)
        return
    words = "; ".join(f"{name} needs {other}, which comes later" for name, other in late[:4])
    if in_order(state.boots_today, needs) is None:
        yield Finding(
            key, Status.FAIL, title, f"{words}. They need each other.", man, advice="Take one “depend” out of its file."
        )
    else:
        yield Finding(key, Status.WARN, title, f"{words}. jail_list is the order.", man, fix="boot_order")


def dependencies(facts: HostFacts, listed_names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Jail → those in the same list that its `depend` names. Raises Missing where a file that is not read may tell."""
    facts.require_includes()
    found = {}
    for name in listed_names:
        jail = facts.configured_jail(name)
        values = next((values for key, values in jail.parameters if key == "depend"), ()) if jail else ()
        found[name] = tuple(value for value in values if value in listed_names)
    return found


def _before(state: BootState, first: str, second: str) -> bool:
    return state.boots_today.index(first) < state.boots_today.index(second)


def in_order(jails: Sequence[str], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """The same names, each after those it needs, otherwise as they were; None where they need each other."""
    left, found = list(jails), []
    while left:
        ready = next((name for name in left if all(other not in left for other in needs.get(name, ()))), None)
        if ready is None:
            return None
        left.remove(ready)
        found.append(ready)
    return tuple(found)


def zfs_enable(look: Look) -> Iterable[Finding]:
    key, title, man = "zfs_enable", "File systems of jails come back", "rc.conf(5)"
    look.known.require("identity")
    if not look.known.zfs:
        return
    if look.rc.is_yes("zfs_enable"):
        yield Finding(key, Status.PASS, title, "zfs_enable is YES: datasets are mounted before jails start.", man)
    else:
        reason = "zfs_enable is not YES: after a restart of the host no dataset is mounted, and no jail on ZFS starts."
        yield Finding(key, Status.FAIL, title, reason, man, fix="zfs_enable")


CHECKS = (
    ("jail_enable", "Jails start with the host", "rc.conf(5)", jail_enable),
    ("jail_list", "Every jail that shall start can", "jail(8)", jail_list),
    ("boot_order", "Jails start after those they depend on", "jail(8)", boot_order),
    ("zfs_enable", "File systems of jails come back", "rc.conf(5)", zfs_enable),
)
