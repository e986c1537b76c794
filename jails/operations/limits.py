"""Limits of rctl(8) on a jail that runs: changed without a restart. Its file sets them at the next start."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from jails.freebsd import rctl
from jails.hosts import drift
from jails.hosts.facts import HostFacts
from jails.models import Jail, Sample
from jails.operations import checks, common
from jails.operations.jailfile import RULES
from jails.operations.step import Check, Run, Step, Undo
from jails.plans import size

Limits = Mapping[str, int | None]
"""Names of jailfile.RULES → amount, None for none."""


def of(row: Jail) -> dict[str, int | None]:
    return {limit: row.limits.get(limit) for limit in RULES}


def of_file(name: str, given: Mapping[str, Sequence[str]]) -> dict[str, int | None]:
    """What a jail's file sets, by its parameters as they are read."""
    return drift.limits_of(drift.normal(given.items(), limits_of=name))


def allotted_beside(row: Jail, chosen: Collection[str]) -> dict[str, int | None]:
    """What its tenant's plan was saved with for it, without limits that somebody has chosen for it since.

    As it is now, and the row is locked: a plan may be saved at any time.
    """
    rows = Jail.objects.select_for_update(no_key=True).order_by("pk").values_list("allotted", flat=True)
    return {limit: value for limit, value in rows.get(pk=row.pk).items() if limit not in chosen}


def live_steps(name: str, path: str, facts: HostFacts, wanted: Limits) -> Iterable[Step]:
    """Bring what is in force for a running jail to what is wanted: of the limits that are named, and no others.

    Nothing where the kernel has no limits at all. Raises Missing. `path` as of common.runs_check.
    """
    facts.require("rules")
    if not facts.racct:
        return
    now = facts.limits_in_force(name) or {}
    runs = common.runs_check(name, path)
    new = {limit: amount for limit, amount in wanted.items() if amount is not None and now.get(limit) != amount}
    gone = [limit for limit, amount in wanted.items() if amount is None and limit in now]
    if new:
        yield Step(
            key=f"limits-{name}",
            purpose=f"Hold {name} to {words(new)} from now on",
            action=Run((rctl.set_limits(name, new),)),
            done_when=tuple(_is(name, limit, amount) for limit, amount in new.items()),
            undo=tuple(_back(name, limit, amount, now.get(limit), runs) for limit, amount in new.items()),
            requires=(runs,),
            seconds=60,
            subject=name,
        )
    if gone:
        yield Step(
            key=f"unlimited-{name}",
            purpose=f"Hold {name} to no {' and '.join(NOUNS[limit] for limit in gone)} any more",
            action=Run((rctl.clear_limits(name, gone),)),
            done_when=tuple(_is(name, limit, None) for limit in gone),
            undo=tuple(_back(name, limit, None, now[limit], runs) for limit in gone),
            requires=(runs,),
            seconds=60,
            subject=name,
        )


def left_undo(name: str, given: Limits) -> tuple[Undo, ...]:
    """Take away what a start that failed or was killed has set for a jail that is not there.

    jail(8) takes a jail back whose exec.start fails, and not what was done before the jail was made.
    """
    gone = checks.jail_gone(name)
    return tuple(
        Undo(Run((rctl.clear_limits(name, [limit]),)), only_if=(gone, _is(name, limit, given[limit])))
        for limit in RULES
        if given.get(limit) is not None
    )


def _is(name: str, limit: str, amount: int | None) -> Check:
    return checks.limit_is(name, rctl.RESOURCES[limit], "none" if amount is None else str(amount))


def _back(name: str, limit: str, now: int | None, before: int | None, runs: Check) -> Undo:
    command = rctl.clear_limits(name, [limit]) if before is None else rctl.set_limits(name, {limit: before})
    return Undo(Run((command,)), only_if=(runs, _is(name, limit, now)))


# For people


def below_use(limits: Limits, sample: Sample | None) -> Iterable[str]:
    """Of a jail that uses more now than these limits allow, what that does to it: `uses 2 GiB of memory now: …`."""
    if sample is None or not sample.running:
        return
    memory, processes = limits.get("memory"), limits.get("processes")
    if memory is not None and memory < sample.memory:
        yield f"uses {size(sample.memory)} of memory now: what is above {size(memory)} is paged out, and it gets slow."
    if processes is not None and processes < sample.processes:
        yield f"has {sample.processes} processes now: with {processes} it can start none until enough have ended."


NOUNS = {"memory": "limit of memory", "cpu": "limit of CPU", "processes": "limit of processes"}
OFF = "kern.racct.enable is not 1"
HOW_ON = "Its loader.conf sets that, and it has to start again: see its readiness."


def shown(limit: str, amount: int) -> str:
    """`512 MiB of memory`."""
    if limit == "memory":
        return f"{size(amount)} of memory"
    return f"{amount} % of a CPU" if limit == "cpu" else f"{amount} processes"


def words(limits: Limits) -> str:
    return ", ".join(shown(limit, amount) for limit, amount in limits.items() if amount is not None)


def notes(host_name: str, facts: HostFacts, limits: Iterable[Limits]) -> tuple[str, ...]:
    """What a plan says where limits are wanted that the host does not keep; they are no reason to keep a jail down."""
    if facts.racct or all(one.get(limit) is None for one in limits for limit in RULES):
        return ()
    return (
        f"{OFF} on {host_name}: limits of memory, CPU and processes hold only after its loader.conf sets that and it "
        "has started again.",
    )
