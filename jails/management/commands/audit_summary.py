from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jails import summary
from jails.models import User


class Command(BaseCommand):
    help = "Print the week's summary of the log as a person gets it by mail: for who has no mail, and to look at."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("person", metavar="NAME", help="user name of whose summary it is")
        parser.add_argument(
            "--week", metavar="DATE", help="a day of that week, as 2026-11-30; the last whole one if not given"
        )

    def handle(self, *, person: str, week: str | None = None, **options: Any) -> None:
        found = User.objects.filter(username=person).first()
        if found is None:
            raise CommandError(f"nobody here is called {person!r}")
        if not summary.may_have(found):
            raise CommandError(f"{person} sees no log of more than their own doing: nothing is summed up for them")
        try:
            monday = summary.week_of(date.fromisoformat(week)) if week else summary.last_week()
        except ValueError as error:
            raise CommandError(f"--week: expected a date as 2026-11-30, got {week!r}") from error
        self.stdout.write(summary.text_of(found, monday))
