import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class Look(models.Model):
    """Something that was, or is being, read of one jail because a person asked: jails/looks.

    One row serves all who ask the same of a jail. While it is asked anew the last answer stays.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for the worker"
        TAKEN = "taken", "Under way"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    OPEN = (State.WAITING, State.TAKEN)
    PATIENCE = timedelta(minutes=2)
    """After which one that was not answered counts as lost."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    jail = models.ForeignKey("jails.Jail", models.CASCADE, related_name="looks")
    kind = models.CharField(max_length=32)
    parameters = models.JSONField(default=dict, blank=True)
    key = models.CharField(max_length=64)
    """Digest of the parameters."""
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    """Who asked last: as whom the worker asks the policy."""
    asked_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    taken_at = models.DateTimeField(null=True, blank=True)
    """When the worker began with it: it owns the row until it ends."""
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    result = models.JSONField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    """Of when the result is."""
    problem = models.CharField(max_length=500, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["jail", "kind", "key"], name="one_look_of_a_kind")]
        indexes = [models.Index(fields=["state", "asked_at"]), models.Index(fields=["expires_at"])]

    def __str__(self) -> str:
        return f"{self.kind} of jail {self.jail_id}"

    @property
    def is_lost(self) -> bool:
        """Nobody has answered for so long that nobody will."""
        return self.state in self.OPEN and self.asked_at < timezone.now() - self.PATIENCE

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN and not self.is_lost
