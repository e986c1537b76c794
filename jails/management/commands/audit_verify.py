import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jails import audit


class Command(BaseCommand):
    help = (
        "Walk the audit chain and name the first entry that was edited, removed or put in; exits with 1 then. "
        "Prints where the chain ends: noted on another machine and given as --checkpoint later, it shows too "
        "when the chain was cut off or made anew."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--checkpoint", metavar="NUMBER:HASH", help="as an earlier run printed it")

    def handle(self, *, checkpoint: str | None = None, **options: Any) -> None:
        verdict = audit.verify(checkpoint=parsed(checkpoint) if checkpoint else None)
        if not verdict.ok:
            raise CommandError(f"{verdict.problem}; the {verdict.checked} entries before it hold", returncode=1)
        self.stdout.write(
            f"{verdict.checked} entries, an unbroken chain. It ends at {verdict.last}:{verdict.last_hash}"
        )


def parsed(checkpoint: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", checkpoint):
        raise CommandError(f"--checkpoint: expected NUMBER:HASH as this command prints it, got {checkpoint!r}")
    number, _, digest = checkpoint.partition(":")
    return int(number), digest
