"""Hosts from the command line: which there are, and what is known of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count

from jails.hosts.facts import HostFacts, Missing
from jails.management import textfiles
from jails.models import Host, HostFactsRecord


class Command(BaseCommand):
    help = "Hosts: which there are, and all that the last refresh of one learned."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="subcommand", metavar="list | facts", required=True)
        rows = commands.add_parser("list", help="the hosts of this panel")
        rows.add_argument("--json", action="store_true", dest="as_json", help="one object a host, each on a line")
        rows.set_defaults(run=self.list_hosts)
        facts = commands.add_parser(
            "facts",
            help="all that a refresh learned of a host",
            description="All that the last refresh of a host learned. What it could not read is said, and is not the "
            "same as absent. Exits with 1 where nothing is known, or --refresh got no answer.",
        )
        facts.add_argument("name", metavar="NAME")
        facts.add_argument("--json", action="store_true", dest="as_json", help="one object with everything in it")
        facts.add_argument(
            "--refresh", action="store_true", help="ask the host now; where its worker runs, with the worker's rights"
        )
        facts.set_defaults(run=self.show_facts)

    def handle(self, *, run: Callable[..., None], **options: Any) -> None:
        run(**options)

    def list_hosts(self, *, as_json: bool, **_: Any) -> None:
        hosts = list(Host.objects.annotate(jail_count=Count("jails")).order_by("name"))
        if as_json:
            textfiles.put(self.stdout, "".join(f"{json.dumps(host_row(host))}\n" for host in hosts))
            return
        rows = [
            (host.name, host.kind, host.state, host.release, str(host.jail_count), moment(host.refreshed_at))
            for host in hosts
        ]
        for line in table([("NAME", "KIND", "STATE", "RELEASE", "JAILS", "REFRESHED"), *rows], indent=""):
            textfiles.put(self.stdout, f"{line}\n")

    def show_facts(self, *, name: str, as_json: bool, refresh: bool, **_: Any) -> None:
        host = named(name)
        if refresh:
            ask_now(host)
            host.refresh_from_db()
        record = HostFactsRecord.objects.filter(host=host).first()
        if record is None:
            why = f" ({host.unavailable_reason})" if host.unavailable_reason else ""
            raise CommandError(textfiles.visible(f"{host}: nothing is known yet; it has not answered so far{why}"))
        if as_json:
            textfiles.put(self.stdout, json.dumps(facts_row(host, record)) + "\n")
        else:
            textfiles.put(self.stdout, "".join(f"{line}\n" for line in listing(host, record)))
        if refresh and host.unavailable_since:
            raise CommandError(
                textfiles.visible(
                    f"{host}: did not answer now: {host.unavailable_reason}. This is what was known before."
                )
            )


def named(name: str) -> Host:
    host = Host.objects.filter(name=name).first()
    if host is None:
        known = ", ".join(Host.objects.order_by("name").values_list("name", flat=True)) or "none"
        raise CommandError(textfiles.visible(f"there is no host {name!r} here; the hosts are: {known}"))
    return host


def ask_now(host: Host) -> None:
    """A refresh by this process. CommandError where it is not this machine's worker that serves the host."""
    from jails.hosts.keys import KeyUnusable
    from jails.hosts.refresh import refresh
    from jails.operations import queue
    from jails.tasks import worker_name

    worker = queue.worker_of(host)
    if worker != worker_name():
        raise CommandError(
            f"{host}: is served by the worker {worker}, and this is {worker_name()} (CELLBLOCK_WORKER); "
            "run this there, or leave --refresh out"
        )
    try:
        refresh(host)
    except (KeyUnusable, PermissionError) as error:
        raise CommandError(f"{host}: cannot be asked by this user: {error}. Run this as the worker does.") from None


def host_row(host: Host) -> dict[str, Any]:
    """JSON values of what `list` shows."""
    return {
        "host": host.name,
        "kind": host.kind,
        "state": host.state,
        "release": host.release,
        "refreshed_at": iso(host.refreshed_at),
        "unavailable_since": iso(host.unavailable_since),
        "unavailable_reason": host.unavailable_reason,
    }


def facts_row(host: Host, record: HostFactsRecord) -> dict[str, Any]:
    """JSON values: the facts as they were gathered, what of them is missing, in words, and what follows from them."""
    facts = HostFacts.from_data(record.data)
    return {
        **host_row(host),
        "gathered_at": iso(record.gathered_at),
        "errors": list(facts.errors),
        "configured": [
            {
                "name": jail.name,
                "file": jail.file,
                "failed": jail.failed,
                "parameters": [{"name": name, "values": list(values)} for name, values in jail.parameters],
            }
            for jail in known(lambda: facts.configured, ())
        ],
        "boots": known(lambda: list(facts.boot_state().boots_today), None),
        "facts": record.data,
    }


def known(ask: Callable[[], Any], otherwise: Any) -> Any:
    """What follows from facts, or something else where they are missing or only the host itself could tell."""
    try:
        return ask()
    except (Missing, ValueError):
        return otherwise


def iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "never"


def listing(host: Host, record: HostFactsRecord) -> Iterator[str]:
    """Lines for people, without what a terminal would act on."""
    facts = HostFacts.from_data(record.data)
    yield f"{host.name} ({host.kind}), as of {moment(record.gathered_at)}"
    if host.unavailable_since:
        yield f"  does not answer since {moment(host.unavailable_since)}: {textfiles.visible(host.unavailable_reason)}"
    if facts.errors:
        yield from ("", "not read")
        yield from (f"  {textfiles.visible(error)}" for error in facts.errors)
    for title, sections, rows in _sections(facts):
        yield ""
        if missing := [section for section in sections if section in facts.missing]:
            yield f"{title}: not read ({', '.join(missing)})"
            continue
        try:
            found = list(rows())
        except ValueError as error:
            yield textfiles.visible(f"{title}: only the host itself can tell: {error}")
            continue
        yield title if found else f"{title}: none"
        yield from table(found)


Rows = Callable[[], Iterable[Sequence[str]]]


def _sections(facts: HostFacts) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
    """(title, what of the facts it needs, rows) for each part of the listing."""
    yield "identity", (), lambda: _identity(facts)
    yield "sysctls", ("identity",), lambda: sorted(facts.sysctls.items())
    yield "interfaces", ("interfaces",), lambda: _interfaces(facts)
    yield (
        "mounts",
        ("mounts",),
        lambda: [(row.path, row.type, row.device, ",".join(row.options)) for row in facts.mounts],
    )
    yield (
        "space",
        ("space",),
        lambda: [(row.path, f"{size(row.available)} free of {size(row.size)}") for row in facts.space],
    )
    yield (
        "pools",
        ("zfs",),
        lambda: [
            (
                row.name,
                row.health,
                f"{size(row.used)} used",
                f"{size(row.available)} available",
                f"reserve {size(row.reserve)}",
            )
            for row in facts.pools
        ],
    )
    yield (
        "datasets",
        ("zfs",),
        lambda: [
            (row.name, size(row.used), row.mountpoint or "-", f"from {row.origin}" if row.origin else "")
            for row in facts.datasets
        ],
    )
    yield (
        "snapshots",
        ("zfs",),
        lambda: [
            (row.name, size(row.used), f"kept by {', '.join(row.clones)}" if row.clones else "")
            for row in facts.snapshots
        ],
    )
    yield (
        "running jails",
        ("jails",),
        lambda: [
            (row.name, f"jid {row.jid}", "dying" if row.dying else "", row.path, ", ".join(row.addresses))
            for row in facts.jails
        ],
    )
    yield (
        "configured jails",
        ("files", "names"),
        lambda: [
            (row.name, row.file, "refused" if row.failed else "", row.path, ", ".join(row.addresses))
            for row in facts.configured
        ],
    )
    yield "started at boot", ("files", "names"), lambda: [(name,) for name in facts.boot_state().boots_today]
    yield "files", ("files",), lambda: [(path, f"{len(text.encode()):,} bytes") for path, text in facts.files.items()]
    yield "directories", ("names",), lambda: [(path, f"{len(names)} in it") for path, names in facts.names.items()]


def _identity(facts: HostFacts) -> Iterator[tuple[str, str]]:
    if "identity" not in facts.missing:
        booted = moment(datetime.fromtimestamp(facts.booted_at, UTC)) if facts.booted_at else "unknown"
        yield "hostname", facts.hostname
        yield "kernel", facts.kernel
        yield "architecture", facts.architecture
        yield "processors", str(facts.processors)
        yield "memory", size(facts.memory)
        yield "booted", booted
    if "version" not in facts.missing:
        yield "userland", facts.userland
    yield "ZFS", "yes" if facts.zfs else "no"


def _interfaces(facts: HostFacts) -> Iterator[tuple[str, str, str]]:
    for interface in facts.interfaces:
        addresses = ", ".join(f"{address.ip}/{address.prefix}" for address in interface.addresses)
        yield interface.name, f"mtu {interface.mtu}", addresses


def size(value: int) -> str:
    from panel.templatetags.cellblock import iec

    return iec(value)


def table(rows: Iterable[Sequence[str]], *, indent: str = "  ") -> Iterator[str]:
    """Rows as lines in columns that stand below each other."""
    shown = [[textfiles.visible(cell).replace("\n", "\\n").replace("\t", "\\t") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True) if width)
        yield (indent + "  ".join(cells)).rstrip()
