from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError


class Command(BaseCommand):
    help = (
        "With the panel's database lost: rebuild jails, releases, templates, tenants and networks from what hosts say "
        "of themselves (the files and cellblock: properties that the panel left there). Add each host first, and let "
        "its worker look at it once. Nothing on a host is touched; without --write nothing at all is changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--from-host", metavar="NAME", action="append", help="this host; may be given again")
        which.add_argument("--all", action="store_true", help="every host of the panel")
        parser.add_argument("--write", action="store_true", help="make it, each host in one transaction")

    def handle(self, *, from_host: list[str] | None = None, write: bool = False, **options: Any) -> None:
        from jails.models import Host

        hosts = list(Host.objects.order_by("name") if not from_host else Host.objects.filter(name__in=from_host))
        if missing := sorted(set(from_host or ()) - {host.name for host in hosts}):
            raise CommandError(f"This panel has no host {', '.join(missing)}: add it first.")
        failed = [host.name for host in hosts if not self.rebuild(host, write)]
        if failed:
            raise CommandError(f"Not done: {', '.join(failed)}.")
        if not write:
            self.stdout.write("Nothing was changed: say --write to make it.")

    def rebuild(self, host: Any, write: bool) -> bool:
        from jails import rebuild
        from jails.operations.kind import Refused

        try:
            found = rebuild.look(host)
            if write:
                rebuild.write(found)
        except Refused as refused:
            self.stderr.write(f"{refused}")
            return False
        except IntegrityError:
            self.stderr.write(f"{host}: somebody has just made one of these: look again.")
            return False
        self.stdout.write(f"{host}:" if not found.is_empty else f"{host}: nothing to rebuild.")
        for line in found.lines():
            self.stdout.write(f"  {'made' if write else 'would make'} {line}")
        if found.there:
            self.stdout.write(f"  there already: {', '.join(found.there)}")
        for what, why in found.left:
            self.stdout.write(f"  LEFT OUT {what}: {why}")
        return True
