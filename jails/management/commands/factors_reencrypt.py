"""Encrypt second factors with the secret of now, before an old one is taken out of CELLBLOCK_OLD_SECRET_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = __doc__

    def handle(self, **options: Any) -> None:
        from panel.factors import encrypt_anew

        done, unreadable = encrypt_anew()
        self.stdout.write(f"{done} encrypted with the secret of now")
        if unreadable:
            self.stdout.write(f"{unreadable} can be read with none of the secrets: those people need new factors")
