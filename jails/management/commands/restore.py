from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError


class Command(BaseCommand):
    help = (
        "Be as a backup says again: database and keys, on SQLite or PostgreSQL, whichever it came from. Stop workers, "
        "clock and pages first. A damaged file is refused before anything is touched. Nobody is signed in afterwards, "
        "one-time links are void, and operations that were open need somebody to look."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="although this panel has been used: all of that goes"
        )
        parser.add_argument("--without-keys", action="store_true", help="the database alone")
        parser.add_argument(
            "--check", action="store_true", help="only see whether the file is whole, and what is in it"
        )

    def handle(self, *, file: Path, **options: Any) -> None:
        from jails.backup import archive, whole

        try:
            if options["check"]:
                self.check_only(whole.check(file))
            else:
                self.restore(file, replace=options["replace"], with_keys=not options["without_keys"])
        except (archive.Damaged, whole.Refused) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename or file}: {error.strerror or error}") from error
        except DatabaseError as error:
            raise CommandError(f"The database refused it, and nothing was changed: {error}") from error

    def check_only(self, manifest: dict[str, Any]) -> None:
        rows = sum(table["rows"] for table in manifest["tables"])
        keys = sum(name.startswith("keys/") for name in manifest["parts"])
        recorded = sum(name.startswith("recordings/") for name in manifest["parts"])
        noted = manifest["audit"]
        self.stdout.write(
            f"It is whole: made at {manifest['made_at']} from {manifest['database']}, {rows} rows, {keys} keys, "
            f"{recorded} recordings. Its log ends at {noted['sequence']}:{noted['hash']}"
        )

    def restore(self, file: Path, *, replace: bool, with_keys: bool) -> None:
        from jails.backup import whole

        done = whole.restore(file, replace=replace, with_keys=with_keys)
        self.stdout.write(f"The panel is as it was at {done.made_at}: {done.rows} rows, {len(done.keys)} keys.")
        if done.recordings:
            self.stdout.write(f"Recordings of consoles that were put back: {done.recordings}.")
        if done.problem:
            self.stderr.write(f"The audit log does not hold, as it did not when the backup was made: {done.problem}.")
        if done.attention:
            self.stdout.write(f"Operations that were open then and need somebody to look: {done.attention}.")
        self.stdout.write("Start the workers: what differs on the hosts is shown as drift, and nothing acts by itself.")
        if done.missing:
            raise CommandError(
                f"The panel is back, and not all recordings: {done.missing}. The same command with --replace, before "
                "the workers are started, puts back the others too."
            )
