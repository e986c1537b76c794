"""The fleet as a file: write it, see what it would change, apply it."""

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from jails import audit

COMMAND_LINE = "command line"
CHANGES = 2
"""Exit status of a plan that would change something."""


class Command(BaseCommand):
    help = (
        "The fleet as a file (TOML): hosts, tenants, networks, releases, templates and jails. People are not in it, "
        "nor is anything secret. `plan` exits with 0 when nothing would change, with 2 when something would, with 1 on "
        "an error."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="export|plan|apply")
        export = actions.add_parser("export", help="write the file for what the panel has now")
        export.add_argument("file", nargs="?", default="-", metavar="FILE", help="where to; - is the terminal")
        plan = actions.add_parser("plan", help="show what would have to change; changes nothing")
        apply = actions.add_parser("apply", help="make the changes, by ordinary operations that the workers run")
        for one in (plan, apply):
            one.add_argument("file", metavar="FILE", help="the file; - is standard input")
            one.add_argument(
                "--prune",
                action="store_true",
                help="also destroy the jails whose tables say `absent = true`, one by one",
            )
        apply.add_argument("--user", default="", metavar="NAME", help="the administrator who wants it")
        apply.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
        apply.add_argument("--yes", action="store_true", help="do not ask before it begins")

    def handle(self, *, action: str, file: str, **options: Any) -> None:
        if action == "export":
            self.export(file)
        elif action == "plan":
            self.plan(file, options["prune"])
        else:
            self.apply(file, **options)

    def export(self, file: str) -> None:
        from panel.fleet.export import export

        text = export()
        with transaction.atomic():
            audit.record("fleet.export", actor=COMMAND_LINE, source=COMMAND_LINE)
        if file == "-":
            self.stdout.write(text, ending="")
            return
        draft = Path(f"{file}.{os.getpid()}")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise CommandError(f"{file}: {error.strerror}") from error

    def plan(self, file: str, prune: bool) -> None:
        if self.shown(file, prune).changes:
            sys.exit(CHANGES)

    def apply(self, file: str, *, prune: bool, user: str, keep_going: bool, yes: bool, **options: Any) -> None:
        from panel.fleet import apply

        try:
            person = apply.administrator(user)
        except apply.Failed as failed:
            raise CommandError(str(failed)) from failed
        plan = self.shown(file, prune)
        if not plan.changes:
            return
        if not yes:
            self.ask(file)
        applying = apply.Apply(person, self.say, keep_going=keep_going)
        try:
            complete = applying.run(plan)
        except KeyboardInterrupt:
            raise CommandError("Stopped. What was confirmed goes on: the panel's pages show it.") from None
        self.stdout.write(f"{applying.done} of {len(plan.changes)} changes made.")
        if not complete:
            raise CommandError("Not all of it could be done; apply the file again once the cause is gone.")

    def shown(self, file: str, prune: bool) -> Any:
        """The plan, printed; an error when there is anything wrong with it."""
        from panel.fleet import document, plan

        try:
            wanted = document.read(self.content(file))
        except document.Unreadable as error:
            raise CommandError(str(error)) from error
        made = plan.plan(wanted, prune=prune)
        if made.problems:
            raise CommandError("\n".join(made.problems))
        for place in ("", *made.hosts):
            changes = [change for change in made.changes if change.host == place]
            if changes:
                self.stdout.write(f"{place or 'panel'}:")
            for change in changes:
                self.stdout.write(f"  {change.words}")
                for detail in change.details:
                    self.stdout.write(f"      {detail}")
        for line in made.left:
            self.stdout.write(f"Left alone: {line}")
        count = len(made.changes)
        self.stdout.write(f"{count} change{'' if count == 1 else 's'}." if count else "Nothing would change.")
        return made

    def content(self, file: str) -> bytes:
        from panel.fleet.document import LONGEST

        try:
            if file == "-":
                return sys.stdin.buffer.read(LONGEST + 1)
            with open(file, "rb") as opened:
                return opened.read(LONGEST + 1)
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from error

    def ask(self, file: str) -> None:
        if file == "-" or not sys.stdin.isatty():
            raise CommandError("Nobody can be asked here: say --yes.")
        if input("Make these changes? Type yes: ").strip() != "yes":
            raise CommandError("Nothing was changed.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
