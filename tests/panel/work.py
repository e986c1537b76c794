"""Operations in every state, for tests of their pages: rows as lifecycle and a worker leave them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from jails.hosts.facts import HostFacts
from jails.hosts.zfs_reader import Dataset, Snapshot
from jails.models import Host, HostFactsRecord, Jail, Operation, OperationStep, User
from jails.operations.step import BootList, Plan, RemoveFile, Run, Step, Undo, WriteFile, to_data

CONF = """# Managed by Cellblock.
www1 {
    host.hostname = "www1.example.org";
    path = "/jail/www1";
    ip4.addr = "em0|192.0.2.11/32";
    exec.start = "/bin/sh /etc/rc";
    exec.stop = "/bin/sh /etc/rc.shutdown jail";
    mount.devfs;
}
"""
DATASET = "zroot/cellblock/host/www1"


def create_plan(name: str = "www1") -> Plan:
    """As a thin jail's: a pipeline, files, the boot list, a step that is only made sure of."""
    return Plan(
        title=f"Create {name}",
        steps=(
            Step(
                key="parent",
                purpose="Make sure there is a dataset for the host's own jails",
                action=Run((("zfs", "create", "-u", "-p", "zroot/cellblock/host"),)),
                ensure=True,
            ),
            Step(
                key="clone",
                purpose="Clone the release 14.2-RELEASE",
                action=Run(
                    (
                        (
                            "zfs",
                            "clone",
                            "-o",
                            "quota=10G",
                            "zroot/cellblock/releases/14.2-RELEASE-amd64@cellblock",
                            DATASET,
                        ),
                    )
                ),
                undo=(Undo(Run((("zfs", "destroy", "-r", DATASET),))),),
                seconds=600,
            ),
            Step(
                key="file",
                purpose="Describe the jail in a file that jail(8) and rc read",
                action=WriteFile("/etc/jail.conf.d/www1.conf", CONF),
                undo=(Undo(RemoveFile("/etc/jail.conf.d/www1.conf", CONF)),),
            ),
            Step(
                key="boot",
                purpose="Start it when the host boots",
                action=BootList(add=(name,), now=('sysrc jail_list="loghost www1"',)),
                undo=(Undo(BootList(remove=(name,), now=('sysrc jail_list="loghost"',))),),
            ),
            Step(
                key="start",
                purpose=f"Start {name}",
                action=Run((("jail", "-f", "/etc/jail.conf.d/www1.conf", "-c", name),)),
            ),
        ),
        summary=(
            f"{name} is a thin clone of 14.2-RELEASE on zroot.",
            "It gets 192.0.2.11 on em0.",
            "It starts at boot.",
        ),
        notes=("The release is past its end of life.",),
    )


def destroy_plan(name: str = "www1") -> Plan:
    return Plan(
        title=f"Destroy {name}",
        steps=(
            Step(key="stop", purpose=f"Stop {name}", action=Run((("jail", "-r", name),))),
            Step(
                key="file",
                purpose="Remove its file",
                action=RemoveFile("/etc/jail.conf.d/www1.conf", CONF),
                undo=(Undo(WriteFile("/etc/jail.conf.d/www1.conf", CONF)),),
            ),
            Step(
                key="dataset",
                purpose="Destroy its dataset with all snapshots",
                action=Run((("zfs", "destroy", "-r", DATASET),)),
                irreversible="a destroyed dataset cannot be brought back.",
            ),
        ),
        summary=(f"{name} and all it holds will be gone.",),
        loses=(
            f"dataset {DATASET}",
            "snapshot before-upgrade",
            "file /etc/jail.conf.d/www1.conf",
            "address 192.0.2.11",
        ),
    )


def bulk_plan(names: Iterable[str], verb: str = "Start") -> Plan:
    names = list(names)
    return Plan(
        title=f"{verb} {len(names)} jails",
        steps=tuple(
            Step(
                key=f"{verb.lower()}-{name}",
                purpose=f"{verb} {name}",
                action=Run((("service", "jail", f"one{verb.lower()}", name),)),
                subject=name,
                independent=True,
            )
            for name in names
        ),
        summary=(f"{len(names)} jails will run.",),
    )


def add_operation(
    host: Host,
    user: User,
    status: str = "draft",
    *,
    plan: Plan | None = None,
    kind: str = "host_setup",
    jails: Iterable[Jail] = (),
    steps: Iterable[dict[str, Any]] = (),
    age: timedelta = timedelta(minutes=5),
    **fields: Any,
) -> Operation:
    """`steps`: what a worker has made of each step; the rest are pending. None for a draft."""
    plan = plan or create_plan()
    jails, steps, now = list(jails), list(steps), timezone.now()
    confirmed = status not in ("draft", "discarded")
    values: dict[str, Any] = {
        "kind": kind,
        "parameters": {"reserve": True} if kind == "host_setup" else {},
        "title": plan.title,
        "host": host,
        "host_name": host.name,
        "plan": to_data(plan),
        "digest": plan.digest(),
        "requested_by": user,
        "status": status,
        "created_at": now - age,
        "subject": ", ".join(jail.name for jail in jails),
        "tenant": jails[0].tenant if jails else None,
    }
    if confirmed:
        values |= {"confirmed_by": user, "confirmed_at": now - age, "confirmed_digest": plan.digest()}
    if confirmed and status != "queued":
        values["started_at"] = now - age
    if status in Operation.ENDED:
        values["finished_at"] = now - age + timedelta(seconds=42)
    operation = Operation.objects.create(**(values | fields))
    operation.jails.set(jails)
    if steps:
        _add_steps(operation, plan, steps)
    return operation


def _add_steps(operation: Operation, plan: Plan, steps: list[dict[str, Any]]) -> None:
    given = [*steps, *({} for _ in plan.steps[len(steps) :])]
    for index, (step, values) in enumerate(zip(plan.steps, given, strict=True)):
        begun = values.get("status", "pending") != "pending"
        over = begun and values["status"] not in ("running", "undoing")
        times = {
            "started_at": operation.started_at if begun else None,
            "finished_at": operation.started_at + timedelta(seconds=1.5) if over else None,
        }
        OperationStep.objects.create(
            operation=operation, index=index, data=to_data(step), seal="-", **({**times} | values)
        )


def running(host: Host, user: User, **fields: Any) -> Operation:
    """At its second of five steps, with output and progress."""
    steps = [
        {"status": "skipped"},
        {"status": "running", "output": "cloning\n", "progress": 50 * 2**20, "progress_total": 200 * 2**20},
    ]
    return add_operation(host, user, "running", steps=steps, **fields)


def failed(host: Host, user: User, **fields: Any) -> Operation:
    """Its third step failed; what it had made was undone."""
    error = "Step 3 failed: /etc/jail.conf.d/www1.conf is there already."
    steps = [
        {"status": "skipped"},
        {"status": "undone", "output": ""},
        {"status": "failed", "rc": 1, "error": error, "output": "sh: cannot create: File exists\n"},
    ]
    return add_operation(
        host, user, "failed", steps=steps, error=f"{error} Everything it had made was removed.", **fields
    )


def done(host: Host, user: User, **fields: Any) -> Operation:
    steps = [{"status": "skipped"}, *({"status": "done", "output": "ok\n", "rc": 0} for _ in range(4))]
    return add_operation(host, user, "done", steps=steps, **fields)


def seen_snapshots(jail: Jail, count: int, held: int = 0, **marks: str) -> None:
    """As the last refresh has them: every third is automatic, from the second one something is made, one is held."""
    now = int(timezone.now().timestamp())
    found = [
        Snapshot(
            f"{jail.dataset}@day{number}",
            used=number << 20,
            referenced=2 << 30,
            creation=now - 3600 * (count - number) - 60,
            clones=(f"{jail.dataset}-copy",) if number == 2 else (),
            userrefs=int(number == held),
            marks={"cellblock:kind": "by hand" if number % 3 else "automatic", **marks},
        )
        for number in range(1, count + 1)
    ]
    dataset = Dataset(jail.dataset, mountpoint=jail.path, marks={"cellblock:jail": str(jail.uuid)})
    facts = HostFacts(zfs=True, datasets=(dataset,), snapshots=tuple(found))
    values = {"data": facts.to_data(), "gathered_at": timezone.now()}
    HostFactsRecord.objects.update_or_create(host=jail.host, defaults=values)
