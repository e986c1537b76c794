from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = (
        "Write the whole panel into one new file: its database as of one moment, and its workers' keys. The panel may "
        "be in use meanwhile. Whoever has the file has the hosts: keep it as you keep the keys."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path, help="must not exist yet; it gets mode 0600")
        parser.add_argument("--without-keys", action="store_true", help="the database alone")
        parser.add_argument("--with-recordings", action="store_true", help="the recordings of consoles too")

    def handle(self, *, file: Path, without_keys: bool = False, with_recordings: bool = False, **options: Any) -> None:
        from jails.backup import keyfiles, whole
        from jails.management import textfiles

        try:
            made = whole.make(file, with_keys=not without_keys, with_recordings=with_recordings)
        except FileExistsError as error:
            raise CommandError(f"{file} is there already: name another file") from error
        except OSError as error:
            hint = "; as the user of the workers, or with --without-keys" if isinstance(error, PermissionError) else ""
            raise CommandError(f"{error.filename or file}: {error.strerror}{hint}") from error
        if not without_keys and keyfiles.SEAL not in made.keys:
            self.stderr.write(
                f"No key of workers is in it: there is no {keyfiles.place_of(keyfiles.SEAL)} here. "
                "Run this where the workers are."
            )
        for line in made.left_out:
            self.stderr.write(textfiles.visible(f"Not in the backup: {line}."))
        if made.problem:
            self.stderr.write(f"The audit log does not hold: {made.problem}. It is in the backup as it is.")
        keys = f"{len(made.keys)} key{'' if len(made.keys) == 1 else 's'}"
        with_them = f", {_recordings(made.recordings)}" if with_recordings else ""
        self.stdout.write(f"{made.rows} rows and {keys}{with_them}. The log ends at {made.end}")
        self._tell_of_recordings(with_recordings)

    def _tell_of_recordings(self, with_recordings: bool) -> None:
        from jails.backup import recordings

        if with_recordings:
            return
        count, size = recordings.size()
        if count:
            self.stderr.write(
                f"Not in the backup: {_recordings(count)} of consoles, {size / (1 << 20):.1f} MiB. "
                "--with-recordings takes them too."
            )


def _recordings(count: int) -> str:
    return f"{count} recording{'' if count == 1 else 's'}"
