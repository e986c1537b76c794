import heapq
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jails import audit, checkpoints, segments


class Command(BaseCommand):
    help = (
        "Walk the audit chain and name the first entry that was edited, removed or put in; exits with 1 then. "
        "Signed checkpoints, which workers make every hour, show too when the chain was cut off or made anew, and "
        "up to where the log is proven. Prints where the chain ends: noted on another machine and given as "
        "--checkpoint later, it does the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--checkpoint", metavar="NUMBER:HASH", help="as an earlier run printed it")
        parser.add_argument(
            "--checkpoints", metavar="FILE", type=Path, help="signed checkpoints; else those of this machine's workers"
        )
        parser.add_argument(
            "--key", metavar="HEX", action="append", help="a public key that may sign them; else this machine's"
        )
        parser.add_argument(
            "--archive",
            metavar="FOLDER",
            type=Path,
            help="sealed segments to check as well; else those of this machine",
        )
        parser.add_argument(
            "--processes",
            metavar="N",
            type=int,
            default=os.cpu_count() or 1,
            help="for a long log; else one a processor",
        )
        parser.add_argument("--public-key", action="store_true", help="print this machine's public key, and no more")

    def handle(self, *, checkpoint: str | None = None, **options: Any) -> None:
        if options["public_key"]:
            self.stdout.write(checkpoints.public_key())
            return
        noted = [parsed(checkpoint)] if checkpoint else signed(options["checkpoints"], options["key"])
        sealed = segments_of(options["archive"], options["key"])
        try:
            verdict = audit.verify(checkpoints=heapq.merge(noted, sealed), processes=options["processes"])
        except ValueError as error:
            raise CommandError(str(error), returncode=1) from error
        proven = f" Proven by a checkpoint: up to entry {verdict.proven}." if verdict.proven else ""
        if not verdict.ok:
            raise CommandError(
                f"{verdict.problem}; the {verdict.checked} entries before it hold.{proven}", returncode=1
            )
        self.stdout.write(
            f"{verdict.checked} entries, an unbroken chain.{proven} It ends at {verdict.last}:{verdict.last_hash}"
        )


def signed(file: Path | None, keys: list[str] | None) -> Iterator[tuple[int, str]]:
    """The checkpoints of a file; none where this machine has no worker that makes them."""
    path = file or Path(settings.AUDIT_CHECKPOINTS)
    if not path.exists():
        if file is not None:
            raise CommandError(f"--checkpoints: there is no {file}")
        return iter(())
    if keys is None and not Path(settings.AUDIT_KEY_FILE).exists():
        raise CommandError(f"{path} was signed elsewhere: give the public key with --key")
    return checkpoints.read(path, keys or [checkpoints.public_key()])


def segments_of(folder: Path | None, keys: list[str] | None) -> Iterator[tuple[int, str]]:
    """Where the sealed segments of a folder end; none where nothing was sealed on this machine."""
    path = folder or Path(settings.AUDIT_ARCHIVE)
    if not any(path.glob("*.seal.json")):
        if folder is not None:
            raise CommandError(f"--archive: there is no sealed segment in {folder}")
        return iter(())
    return segments.check(path, keys or [checkpoints.public_key()])


def parsed(checkpoint: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", checkpoint):
        raise CommandError(f"--checkpoint: expected NUMBER:HASH as this command prints it, got {checkpoint!r}")
    number, _, digest = checkpoint.partition(":")
    return int(number), digest
