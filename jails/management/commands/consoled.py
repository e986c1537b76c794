"""Serve consoles in jails: the process with the workers' rights that the web process asks over a socket."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Serve consoles in jails over the socket that CELLBLOCK_CONSOLED_SOCKET names. "
        "Runs as the workers' user; the socket is for its group, which is the web process's."
    )

    def handle(self, **options: Any) -> None:
        from jails.consoles import server

        try:
            server.main()
        except BlockingIOError:
            raise CommandError(f"another consoled serves {settings.CONSOLED_SOCKET}") from None
        except OSError as error:
            raise CommandError(f"{settings.CONSOLED_SOCKET}: {error}") from error
