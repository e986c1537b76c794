import uuid

from django.db import models
from django.utils import timezone

from .release import Storage


class Jail(models.Model):
    """A jail on a host: one the panel made (`managed`), or one a refresh found there.

    What it should be (hostname, boot, addresses) is the panel's; what it is (state, jid, sizes) is as last seen.
    The jid is shown and never used to name a jail: it changes at every start.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Being made"
        RUNNING = "running", "Running"
        STOPPED = "stopped", "Stopped"
        DYING = "dying", "Dying"
        MISSING = "missing", "Missing on the host"

    class Kind(models.TextChoices):
        THICK = "thick", "Thick"
        THIN = "thin", "Thin"
        FOUND = "found", "Found on the host"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    host = models.ForeignKey("jails.Host", models.CASCADE, related_name="jails")
    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, null=True, blank=True, related_name="jails")
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    storage = models.CharField(max_length=10, choices=Storage.choices, default=Storage.UFS)
    managed = models.BooleanField(default=False)
    touched = models.BooleanField(default=True)
    """Whether a tenant has ever had its tree: then the host never follows a path into it."""

    hostname = models.CharField(max_length=255, blank=True)
    boot = models.BooleanField(default=False)
    path = models.CharField(max_length=1023)
    dataset = models.CharField(max_length=255, blank=True)
    origin = models.CharField(max_length=511, blank=True)
    """The snapshot it is a clone of."""
    config_path = models.CharField(max_length=1023, blank=True)
    release = models.ForeignKey("jails.Release", models.RESTRICT, null=True, blank=True, related_name="jails")
    template = models.ForeignKey("jails.Template", models.RESTRICT, null=True, blank=True, related_name="jails")
    limits = models.JSONField(default=dict, blank=True)
    """What the form may limit: `quota` in bytes (ZFS), `children_max`, `securelevel`, `enforce_statfs`."""

    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    state_since = models.DateTimeField(default=timezone.now)
    jid = models.IntegerField(null=True, blank=True)
    observed_addresses = models.JSONField(default=list, blank=True)
    used = models.BigIntegerField(default=0)
    used_by_snapshots = models.BigIntegerField(default=0)
    shared = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_jail_name_a_host")]
        indexes = [
            models.Index(fields=["tenant", "name"]),
            models.Index(fields=["host", "state"]),
            models.Index(fields=["name"]),
        ]

    def __str__(self) -> str:
        return self.name
