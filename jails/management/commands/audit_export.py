from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from jails import audit, secretfile
from jails.models import AuditEntry, AuditHead

SOURCE = "command line"


class Command(BaseCommand):
    help = (
        "Write entries of the audit log as JSON lines, with all that is needed to check their chain elsewhere: "
        "docs/audit.md has a program of a few lines for that. The export is an entry of the log itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="must not exist yet, gets mode 0600; - is the standard output")
        parser.add_argument("--first", metavar="NUMBER", type=int, default=1, help="the first entry, 1 if not given")
        parser.add_argument("--last", metavar="NUMBER", type=int, help="the last entry, else the newest")

    def handle(self, *, file: str, first: int = 1, last: int | None = None, **options: Any) -> None:
        head = AuditHead.objects.filter(pk=1).first()
        newest = head.sequence if head else 0
        last = newest if last is None else last
        if not 1 <= first <= last <= newest:
            raise CommandError(
                f"expected 1 <= --first <= --last <= {newest}, where the log ends; got {first} and {last}"
            )
        if file == "-":
            self.stdout.writelines(exported(first, last))
            return
        try:
            with secretfile.new(Path(file)) as out:
                out.writelines(text.encode() for text in exported(first, last))
        except FileExistsError as error:
            raise CommandError(f"{file} is there already: name another file") from error
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from error
        self.stdout.write(f"{last - first + 1} entries, {first} to {last}")


def exported(first: int, last: int) -> Iterator[str]:
    """Each with its newline. What was taken out is noted before the first of it leaves."""
    with transaction.atomic():
        audit.record("audit.export", actor=SOURCE, source=SOURCE, after={"first": first, "last": last})
    entries = AuditEntry.objects.filter(sequence__range=(first, last)).order_by("sequence")
    return (f"{audit.line(entry)}\n" for entry in entries.iterator(chunk_size=1000))
