import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class ConsoleTicket(models.Model):
    """That somebody may open one console, or follow one log, within seconds, once: jails.consoles.tickets.

    Only a digest of it is kept.
    """

    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of what the browser got, in hexadecimal."""
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=40)
    jail = models.ForeignKey("jails.Jail", models.CASCADE, related_name="+")
    login = models.CharField(max_length=32)
    log = models.CharField(max_length=255, default="", blank=True)
    """The file of the jail that may be followed with it; "" where it is for a console."""
    origin = models.CharField(max_length=300)
    """Scheme, host and port of the page that asked for it: no other may use it."""
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"ticket of {self.user_id} for {self.jail_id}"


class Console(models.Model):
    """A console in a jail, or one command in it, from its opening on, and what is known of its recording.

    Made by consoled alone. Who and where stay readable when the person or the jail is gone.
    """

    class Kind(models.TextChoices):
        TERMINAL = "terminal", "Console"
        COMMAND = "command", "One command"

    class Ended(models.TextChoices):
        EXIT = "exit", "It ended by itself."
        LEFT = "left", "The page was closed."
        IDLE = "idle", "Nothing was typed for too long."
        TIME = "time", "The longest time a console may be open was over."
        RIGHT = "right", "The right to use it ended."
        SESSION = "session", "The person signed out, or the sign-in ended."
        JAIL = "jail", "The jail stopped."
        HOST = "host", "The host could not be reached, or the connection to it was lost."
        FAILED = "failed", "The jail gave no terminal."
        SERVICE = "service", "The console service was stopped."

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.TERMINAL)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="consoles")
    username = models.CharField(max_length=150)
    jail = models.ForeignKey("jails.Jail", models.SET_NULL, null=True, related_name="consoles")
    jail_name = models.CharField(max_length=255)
    host_name = models.CharField(max_length=63)
    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, null=True, related_name="consoles")
    """Whose the jail was then."""
    login = models.CharField(max_length=32)
    source = models.CharField(max_length=64, blank=True)
    opened_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    ended = models.CharField(max_length=10, choices=Ended.choices, blank=True)
    status = models.IntegerField(null=True)
    """The exit status of the shell or command, where it was told."""
    size = models.BigIntegerField(default=0)
    """Bytes of the recording."""
    cut = models.BooleanField(default=False)
    """Whether more was shown than the recording was allowed to hold."""
    digest = models.CharField(max_length=64, blank=True)
    """SHA-256 of the recording, in hexadecimal; it is in the log too."""
    removed_at = models.DateTimeField(null=True)
    """When the recording was removed because it was old (jails.consoles.retention)."""

    class Meta:
        ordering = ["-opened_at", "-id"]
        indexes = [
            models.Index(fields=["jail", "-opened_at"]),
            models.Index(fields=["tenant", "-opened_at"]),
            models.Index(fields=["ended_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display().lower()} in {self.jail_name}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    @property
    def lasted(self) -> timedelta:
        """Until now, where it is open."""
        return (self.ended_at or timezone.now()) - self.opened_at
