from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class BreakGlass(models.Model):
    """That an administrator may enter a tenant's jail for a time, why, and whether the tenant has read of it.

    Made by jails.breakglass alone. What it was about stays readable when the jail is gone.
    """

    LONGEST = timedelta(hours=8)

    jail = models.ForeignKey("jails.Jail", models.SET_NULL, null=True, related_name="break_glasses")
    jail_name = models.CharField(max_length=255)
    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, related_name="break_glasses")
    """Whose it was: of the next owner it opens nothing."""
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="break_glasses")
    reason = models.CharField(max_length=500)
    opened_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")

    told_at = models.DateTimeField(null=True)
    """When the owners were sent mail about it, or that there was none to send to was found."""

    class Meta:
        ordering = ["-opened_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["jail", "user"], condition=Q(ended_at=None), name="one_break_glass_open"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("opened_at")), name="break_glass_ends"),
        ]
        indexes = [models.Index(fields=["tenant", "acknowledged_at"])]

    def __str__(self) -> str:
        return f"break-glass {self.pk} into {self.jail_name}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None and self.expires_at > timezone.now()

    @property
    def until(self) -> datetime:
        """When it ended, or will."""
        return self.ended_at or self.expires_at
