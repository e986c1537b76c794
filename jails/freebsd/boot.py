"""Which jails start at boot, and how to change that for one without changing it for any other.

rc.d/jail runs `${jail_list:-_ALL}`. With a list each jail is started by name, from its own file alone; with an empty
one everything in /etc/jail.conf is. So the first name put into an empty list would keep all others from starting, and
the last one taken out would start everything.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jails.freebsd import names, rcconf
from jails.freebsd.command import Argv

JAIL_CONF = "/etc/jail.conf"

Mode = Literal["off", "list", "all"]


@dataclass(frozen=True)
class BootState:
    """How a host starts jails today.

    mode: `off` (jail_enable is not YES), `list` (jail_list names them), `all` (everything in /etc/jail.conf).
    boots_today: in the order of the list, or of /etc/jail.conf; in a list also names that have no configuration.
    everything: what `jail -f /etc/jail.conf -c` starts, included files among it.
    own_files: jails that have a file called after them, which a list reads instead of /etc/jail.conf.
    includes_folder: whether a new file in /etc/jail.conf.d is part of everything.
    listed: what jail_list has, also where jail_enable keeps it from counting.
    """

    mode: Mode
    boots_today: tuple[str, ...]
    everything: tuple[str, ...] = ()
    own_files: frozenset[str] = frozenset()
    includes_folder: bool = False
    listed: tuple[str, ...] = ()


@dataclass(frozen=True)
class BootChange:
    """`before` and `after` are the jails that start at boot; `jail_list` is the list that is written, None if none is.

    read_alone: jails that started from /etc/jail.conf as a whole and will start from their own file, which then must
    not rely on anything outside it. `commands` are in the order that leaves the host right wherever they stop.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    jail_list: tuple[str, ...] | None
    jail_enable_needed: bool
    read_alone: tuple[str, ...]
    commands: tuple[Argv, ...]


def boot_state(
    rc_conf: str,
    everything: Sequence[str] = (),
    own_files: Collection[str] = (),
    *,
    includes_folder: bool = False,
) -> BootState:
    """What rc.conf(5) makes of the jails that are configured.

    rc_conf: the text of all files that rc.d/jail reads after the defaults, one after the other. everything: names of
    the jails of /etc/jail.conf in order, with those of the files that it includes where this host's jail(8) includes
    any. ValueError where rc.conf cannot be understood without running it, or names another configuration file.
    """
    conf = rcconf.parse(rc_conf)
    jail_conf = conf.get("jail_conf", JAIL_CONF)
    if jail_conf != JAIL_CONF:
        raise ValueError(f"rc.conf: jail_conf is {jail_conf}; expected {JAIL_CONF}: change boot by hand on this host")
    listed = _unique(conf.get("jail_list").split())
    mode: Mode = "off"
    if conf.is_yes("jail_enable"):
        mode = "list" if listed else "all"
    boots = {"off": (), "list": listed, "all": _unique(everything)}[mode]
    return BootState(mode, boots, _unique(everything), frozenset(own_files), includes_folder, listed)


def boot_change(
    state: BootState,
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    rename: Mapping[str, str] | None = None,
    destroyed: Collection[str] = (),
    order: Sequence[str] = (),
) -> BootChange:
    """Make `add` start at boot and `remove` not, in a list that keeps its order; all others stay as they are.

    `rename` maps old names to new ones. Names in `destroyed` lose their configuration as well, so that where
    everything starts no list is needed to leave them out. What is added goes to the end, or to the place that it has
    in `order`, an earlier list. A jail that is to be configured but not to start: write its file first, then ask with
    it in `remove`. ValueError names a jail that no list could start.
    """
    renamed = dict(rename or {})
    removed, added = frozenset(remove) | frozenset(destroyed), _unique(add)
    for argument, wanted in (("add", added), ("rename", renamed.values())):
        for name in wanted:
            names.require(argument, name, names.jail_name_error)
    if both := removed & set(added):
        raise ValueError(f"add: {', '.join(sorted(both))} cannot be both added and removed")
    before = state.boots_today
    kept = tuple(renamed.get(name, name) for name in before if name not in removed)
    after = _placed(kept, added, order)
    plain = _without_a_list(state, added, renamed, destroyed)
    if set(after) == set(plain) and (state.mode != "list" or after == plain):
        return _unlisted(state, removed) or BootChange(before, after, None, False, (), ())
    if not after:
        commands = (rcconf.set_value("jail_enable", "NO"), rcconf.set_value("jail_list", ""))
        return BootChange(before, after, (), False, (), commands)
    return _listed(state, before, after)


def _unlisted(state: BootState, removed: frozenset[str]) -> BootChange | None:
    """Where nothing boots a list may still name what is to go: a change that was cut off leaves that."""
    if state.mode != "off" or not removed & set(state.listed):
        return None
    left = tuple(name for name in state.listed if name not in removed)
    return BootChange((), (), left, False, (), (rcconf.set_value("jail_list", " ".join(left)),))


def _placed(kept: Iterable[str], added: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    """Each of `added` behind what stands before it in `order`; at the end where `order` does not have it."""
    after = list(_unique(kept))
    for name in added:
        if name not in after:
            before = order[: order.index(name)] if name in order else after
            after.insert(max((at for at, one in enumerate(after, 1) if one in before), default=0), name)
    return tuple(after)


def _without_a_list(
    state: BootState, added: Iterable[str], renamed: Mapping[str, str], destroyed: Collection[str]
) -> tuple[str, ...]:
    """What starts when rc.conf stays as it is and the configuration changes."""
    if state.mode != "all":
        return state.boots_today
    there = tuple(renamed.get(name, name) for name in state.everything if name not in destroyed)
    return _unique((*there, *added)) if state.includes_folder else there


def _listed(state: BootState, before: tuple[str, ...], after: tuple[str, ...]) -> BootChange:
    for name in after:
        if name in before and state.mode == "list":
            continue
        problem = _unlistable(name)
        if problem:
            raise ValueError(f"jail_list: cannot start {name!r} by name ({problem}); change boot by hand on this host")
    # Enabled last: until then nothing starts that did not before.
    enable = state.mode == "off"
    commands = [rcconf.set_value("jail_list", " ".join(after))]
    if enable:
        commands.append(rcconf.set_value("jail_enable", "YES"))
    alone = tuple(name for name in after if name in before and name in state.own_files) if state.mode == "all" else ()
    return BootChange(before, after, after, enable, alone, tuple(commands))


def _unlistable(name: str) -> str | None:
    # rc.d/jail makes `_` of `.` and `/` in a name, and the list is split at spaces.
    if any(character in name for character in "./"):
        return "rc.d/jail takes “.” and “/” for “_”"
    return names.jail_reference_error(name) or (
        "a list cannot hold a space" if " " in name else rcconf.value_error(name)
    )


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
