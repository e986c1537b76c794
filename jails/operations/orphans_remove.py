"""Remove what nobody owns on a host: each thing by its name, and only while it still is nobody's and what was shown.

Never more than the thing itself: no `zfs destroy -r`, no unmounting by force, nothing through a mount.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction

from jails.freebsd import devfs as devfs_tool
from jails.freebsd import ifconfig, mount, names, rctl
from jails.hosts import orphans, surveying
from jails.hosts.facts import JAIL_CONF_D, plain_address
from jails.hosts.orphans import Orphan
from jails.models import Host, Jail, Network, Operation, Release, Template, Tenant
from jails.operations import checks, effects, layout, queue
from jails.operations import orphan_checks as still
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Check, Plan, RemoveFile, Run, Step, Undo
from jails.operations.wish import Wish

MOST = 100
"""Things of one operation: its plan is read by a person."""
_ADD_RULES = 'set -f; n=$1; shift; for r do devfs rule -s "$n" add $r || exit; done'
_REMOVE_FOLDER = 'if [ -d "$1" ]; then rmdir "$1" || echo "$1 stays: it is not empty"; fi'


class OrphansRemove(Kind):
    name = "orphans_remove"
    action = "host.clean"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        keys = parameters["orphans"]
        what = keys[0].partition(":")[2] if len(keys) == 1 else f"{len(keys)} things that nobody owns"
        return f"Remove {what} from {host.name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        keys = _keys(wish)
        wish.refuse_wrong()
        return {"orphans": keys}

    def plan(self, request: Request) -> Plan:
        host = request.host
        if surveying.is_stale(host):
            minutes = int(surveying.STALE.total_seconds() // 60)
            words = f"{host.name} was last looked at more than {minutes} minutes ago: check this host again first."
            raise Refused({"orphans": words})
        found = find(host, request.facts)
        chosen = _chosen(request.parameters["orphans"], found)
        several = len(chosen) > 1
        steps = [step for one in chosen for step in _steps(one, host)]
        if several:
            steps = [replace(step, independent=True) for step in steps]
        lasting = [one for one in chosen if one.kind in _LASTING]
        return Plan(
            title=self.title(request.parameters, host)[:300],
            steps=tuple(steps),
            summary=(
                f"{len(chosen)} thing{'s' if several else ''} that no jail on {host.name} uses "
                f"{'go' if several else 'goes'}; each is looked at once more before it is touched.",
            ),
            warnings=tuple(f"{one.name}: {_LASTING[one.kind]}" for one in lasting),
            loses=tuple(one.name for one in chosen),
            sizes=tuple(f"{one.name}: {one.size} bytes" for one in chosen if one.size is not None),
            notes=tuple(f"{one.name}: {one.origin}" for one in chosen),
            resources=tuple(dict.fromkeys(lock for one in chosen for lock in _locks(one, host))),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"left behind": list(operation.parameters["orphans"])}, {}

    def finish(self, operation: Operation, plan: Plan) -> None:
        _look_again(operation)

    def release(self, operation: Operation) -> None:
        _look_again(operation)


def _look_again(operation: Operation) -> None:
    """What the survey saw is gone; the refresh at the end of an operation tells the rest."""
    host = operation.host
    if host is not None and operation.started_at is not None:
        transaction.on_commit(lambda: queue.send_survey(host))


def _keys(wish: Wish) -> list[str]:
    """Each once, in the order of their names: whoever chose them, the plan is the same."""
    given = wish.take("orphans")
    if not isinstance(given, (list, tuple)) or not given:
        wish.wrong("orphans", "names nothing.")
        return []
    if len(given) > MOST:
        wish.wrong("orphans", f"names more than {MOST} things: remove them in several goes.")
        return []
    for key in given:
        kind, _, name = key.partition(":") if isinstance(key, str) else ("", "", "")
        if kind not in orphans.KINDS or not name or names.text_error(name):
            wish.wrong("orphans", f"{str(key)[:80]!r} is not the name of such a thing.")
            return []
    return sorted(set(given))


def find(host: Host, facts: Any) -> orphans.Found:
    """What nobody owns on a host, as far as its facts, its last survey and the panel's rows tell."""
    return orphans.find(facts, surveying.survey_of(host), rows_of(host))


def rows_of(host: Host) -> orphans.Rows:
    given: dict[str, list[str]] = {}
    for name, ip in Jail.objects.filter(host=host, addresses__isnull=False).values_list("name", "addresses__ip"):
        given.setdefault(name, []).append(ip)
    jails = Jail.objects.filter(host=host).order_by("name").values_list("name", "path", "dataset")
    bases = [*Release.objects.filter(host=host), *Template.objects.filter(host=host)]
    operations = [(str(pk), status) for pk, status in Operation.objects.filter(host=host).values_list("pk", "status")]
    # One that needs attention may be taken up again.
    busy = {*Operation.OPEN, Operation.Status.STUCK}
    return orphans.Rows(
        jails=tuple(orphans.Known(name, path, at, tuple(given.get(name, ()))) for name, path, at in jails),
        datasets=frozenset(base.dataset for base in bases if base.dataset),
        paths=frozenset(base.path for base in bases if base.path),
        containers=orphans.Rows().containers | set(Tenant.objects.values_list("slug", flat=True)),
        networks=tuple(Network.objects.order_by("cidr").values_list("cidr", flat=True)),
        own=frozenset({plain_address(host.address)} if host.address else ()),
        reached="" if not host.address or _is_ip(host.address) else host.address,
        open=frozenset(key for key, status in operations if status in busy),
        ended=frozenset(key for key, status in operations if status not in busy),
    )


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _chosen(keys: Iterable[str], found: orphans.Found) -> list[Orphan]:
    """In an order in which they can go. Raises Refused for what is nobody's no more, or has to stay."""
    wanted = set(keys)
    unknown = dict(found.unknown)
    for key in sorted(wanted):
        kind, _, name = key.partition(":")
        one = found.get(key)
        if one is None and (why := unknown.get("", unknown.get(kind))) is not None:
            raise Refused({"orphans": f"{name}: what nobody owns is not known now: {why}."})
        if one is None:
            raise Refused({"orphans": f"{name} is gone, or somebody's by now: it is left alone."})
        if one.kept:
            raise Refused({"orphans": f"{name}: {one.kept}"})
        below = [child for child in getattr(one.thing, "children", ()) if f"dataset:{child}" not in wanted]
        if below:
            raise Refused({"orphans": f"{name} holds {below[0]}: choose that too."})
    return [one for one in found.orphans if one.key in wanted]


_LASTING = {
    "dataset": "it is destroyed with all that is in it, and nothing brings it back.",
    "draft": "it is removed with all that is in it, and nothing brings it back.",
    "epair": "a pair that is made anew has other MAC addresses.",
}
"""kind → what cannot be undone."""


def _locks(one: Orphan, host: Host) -> Iterator[str]:
    if one.kind == "dataset":
        yield layout.dataset_lock(host, one.name)
    elif one.kind == "alias":
        yield layout.address_lock(one.name)
    else:
        yield layout.lock(host, f"orphan:{one.key}")
    if one.jail:
        yield layout.jail_lock(host, one.jail)


@dataclass(frozen=True)
class _Part:
    """A step in the making: what makes it right, what proves it done, how it is undone."""

    purpose: str
    requires: tuple[Check, ...]
    done: tuple[Check, ...]
    undo: tuple[Undo, ...] = ()
    irreversible: str = ""
    seconds: int = 60
    in_use: str = ""


def _steps(one: Orphan, host: Host) -> Iterator[Step]:
    makers = {
        "dataset": _of_dataset,
        "mount": _of_mount,
        "epair": _of_epair,
        "alias": _of_alias,
        "rctl": _of_rule,
        "devfs": _of_ruleset,
        "draft": _of_draft,
        "lock": _of_lock,
    }
    if one.kind == "fstab":
        yield _fstab_step(one)
        return
    parts = list(makers[one.kind](one))
    for number, (argv, part) in enumerate(zip(one.commands, parts, strict=True)):
        yield Step(
            key=f"{one.key}#{number}",
            purpose=part.purpose,
            action=Run((argv,)),
            requires=part.requires,
            done_when=part.done,
            undo=part.undo,
            irreversible=part.irreversible,
            seconds=part.seconds,
            in_use=part.in_use,
            subject=one.name,
        )
    if one.kind == "dataset" and (at := one.thing.dataset.mountpoint).startswith(f"{host.jail_root.rstrip('/')}/"):
        yield Step(
            key=f"{one.key}#folder",
            purpose=f"Have no empty folder left in {at}",
            action=Run((("sh", "-c", _REMOVE_FOLDER, "sh", at),)),
            requires=(checks.unmounted(at),),
            seconds=30,
            subject=one.name,
        )


def _of_dataset(one: Orphan) -> Iterator[_Part]:
    dataset, at = one.thing.dataset, one.thing.dataset.mountpoint
    unused: list[Check] = [
        checks.dataset_property(dataset.name, "creation", str(dataset.creation)),
        still.no_dataset_below(dataset.name),
    ]
    if at.startswith("/") and at != "/":
        unused += [checks.nothing_mounted_below(at), still.no_jail_uses(at), still.not_configured(at)]
    for snapshot in one.thing.snapshots:
        created = checks.dataset_property(snapshot.name, "creation", str(snapshot.creation))
        yield _Part(
            f"Destroy its snapshot {snapshot.name}",
            (*unused, created, checks.snapshot_unused(snapshot.name)),
            (checks.snapshot_absent(snapshot.name),),
            irreversible=f"{snapshot.name} is destroyed",
            seconds=300,
        )
    yield _Part(
        f"Destroy {dataset.name}, which no jail uses",
        (*unused, checks.only_snapshots(dataset.name)),
        (checks.dataset_absent(dataset.name),),
        irreversible=f"{dataset.name} is destroyed",
        seconds=1800,
        in_use=at if at.startswith("/") else "",
    )


_OPTIONS_LOST = frozenset({"nosuid", "noexec", "nosymfollow", "noatime", "sync", "union"})
"""Of a nullfs: with one of these it cannot be mounted again as it was."""


def _of_mount(one: Orphan) -> Iterator[_Part]:
    row: mount.Mount = one.thing
    back = None
    if row.type == "nullfs" and not _OPTIONS_LOST & {*row.options}:
        back = mount.nullfs(row.device, row.path, readonly=row.readonly)
    yield _Part(
        f"Unmount {row.path}, which no running jail has",
        (
            still.mounted_as(row.path, row.device, row.type),
            checks.nothing_mounted_below(row.path),
            still.no_jail_uses(row.path),
        ),
        (checks.unmounted(row.path),),
        (Undo(Run((back,)), only_if=(checks.unmounted(row.path),)),) if back is not None else (),
        irreversible="" if back is not None else f"{row.path} is mounted again when its jail starts",
        in_use=row.path,
    )


def _of_epair(one: Orphan) -> Iterator[_Part]:
    pair: orphans.Pair = one.thing
    unwanted = tuple(still.not_configured(word) for word in (pair.a, pair.b, pair.a[:-1]))
    if pair.bridge:
        idle = still.epair_idle(pair.a, pair.b, pair.ether, pair.bridge)
        out = still.epair_idle(pair.a, pair.b, pair.ether, "")
        back = Undo(Run((ifconfig.add_member(pair.bridge, pair.a),)), only_if=(out,))
        yield _Part(f"Take {pair.a} out of {pair.bridge}", (idle, *unwanted), (out,), (back,))
    yield _Part(
        f"Destroy {pair.a} and {pair.b}, both of which are on the host",
        (still.epair_idle(pair.a, pair.b, pair.ether, ""), *unwanted),
        (still.no_interface(pair.a), still.no_interface(pair.b)),
        irreversible=f"{pair.a} and {pair.b} are destroyed",
    )


def _of_alias(one: Orphan) -> Iterator[_Part]:
    alias: orphans.Alias = one.thing
    back = ifconfig.add_alias(alias.interface, f"{alias.ip}/{alias.prefix}")
    yield _Part(
        f"Take {alias.ip} off {alias.interface}",
        (
            checks.address_on(alias.interface, alias.ip),
            still.no_jail_has(alias.ip),
            still.nobody_listens_on(alias.ip),
            still.not_configured(alias.ip),
        ),
        (checks.is_not(checks.address_on(alias.interface, alias.ip)),),
        (Undo(Run((back,)), only_if=(checks.address_free(alias.ip),)),),
    )


def _of_rule(one: Orphan) -> Iterator[_Part]:
    there = still.rule_there(str(one.thing))
    yield _Part(
        f"Remove the limit {one.name}",
        (there, checks.jail_gone(one.thing.who)),
        (checks.is_not(there),),
        (Undo(Run((rctl.add(one.thing),)), only_if=(checks.is_not(there),)),),
    )


def _of_ruleset(one: Orphan) -> Iterator[_Part]:
    number, rules = str(one.thing.number), one.thing.rules
    for rule in rules:
        devfs_tool.add_rule(one.thing.number, rule)
    back = Run((("sh", "-c", _ADD_RULES, "sh", number, *rules),))
    yield _Part(
        f"Delete the set of device rules {number}",
        (still.ruleset_is(number, *rules), still.no_jail_is_held_to(number)),
        (still.no_ruleset(number),),
        (Undo(back, only_if=(still.no_ruleset(number),)),) if rules else (),
    )


def _of_draft(one: Orphan) -> Iterator[_Part]:
    gone = (checks.path_absent(one.name),)
    if one.thing == JAIL_CONF_D:
        what = f"Remove {one.name}, which was never finished"
        yield _Part(what, (checks.path_exists(one.name),), gone, irreversible=f"{one.name} is removed")
        return
    unused = (checks.unmounted(one.name), checks.nothing_mounted_below(one.name), still.no_jail_uses(one.name))
    yield _Part(
        "Take off the flags that keep even root from removing files",
        (*unused, checks.path_exists(one.name)),
        (),
        irreversible=f"{one.name} is being removed",
        seconds=1800,
    )
    yield _Part(
        f"Remove {one.name}, which was never finished, and never what is mounted",
        unused,
        gone,
        irreversible=f"{one.name} is removed",
        seconds=1800,
        in_use=one.name,
    )


def _of_lock(one: Orphan) -> Iterator[_Part]:
    yield _Part(f"Remove the lock {one.name}, if nothing runs under it", (), (checks.path_absent(one.name),))


def _fstab_step(one: Orphan) -> Step:
    action = RemoveFile(one.name, one.thing)
    return Step(
        key=f"{one.key}#0",
        purpose=f"Remove {one.name}: there is no jail of that name",
        action=action,
        requires=(checks.file_has(one.name, one.thing), checks.jail_gone(one.jail), still.not_configured(one.name)),
        done_when=(checks.file_absent(one.name),),
        undo=effects.undo_of(action),
        seconds=30,
        subject=one.name,
    )


kind = OrphansRemove()
