from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Storage(models.TextChoices):
    ZFS = "zfs", "ZFS"
    UFS = "ufs", "UFS"


class Base(models.Model):
    """What jails are made from: a place on one host."""

    class State(models.TextChoices):
        PENDING = "pending", "Being made"
        READY = "ready", "Ready"
        MISSING = "missing", "Missing on the host"
        REMOVING = "removing", "Being removed"

    host = models.ForeignKey("jails.Host", models.CASCADE, related_name="%(class)ss")
    name = models.CharField(max_length=63)
    architecture = models.CharField(max_length=32)
    storage = models.CharField(max_length=10, choices=Storage.choices)
    dataset = models.CharField(max_length=255, blank=True)
    snapshot = models.CharField(max_length=255, blank=True)
    """The snapshot clones are made of, whole: `zroot/cellblock/releases/14.2-RELEASE-amd64@cellblock`."""
    path = models.CharField(max_length=1023)
    """ZFS: the tree. UFS: the folder that holds the archives."""
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    used = models.BigIntegerField(default=0)
    operation = models.ForeignKey("jails.Operation", models.SET_NULL, null=True, blank=True, related_name="+")
    """Which operation makes or removes it, while that is under way."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    def descendants(self) -> models.QuerySet[Any]:
        """The jails of its host that come from it, by what the panel made and by what they are clones of."""
        from .jail import Jail

        own = Q(**{self._meta.model_name: self})
        return Jail.objects.filter(
            own | Q(origin__startswith=f"{self.dataset}@") if self.dataset else own, host=self.host
        )


class Release(Base):
    """FreeBSD's userland, fetched and verified. `name` is as FreeBSD writes it: 14.2-RELEASE."""

    source = models.CharField(max_length=1000, blank=True)
    manifest_digest = models.CharField(max_length=64, blank=True)

    class Meta(Base.Meta):
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name", "architecture"], name="one_release_a_host")]


class Template(Base):
    """A jail's tree kept as a start for others. Made from a jail it counts as touched by that jail's tenant."""

    release = models.ForeignKey(Release, models.RESTRICT, null=True, blank=True, related_name="templates")
    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, null=True, blank=True, related_name="templates")
    """Who may use it; None: everybody, after an administrator published it."""
    source_jail = models.CharField(max_length=63, blank=True)
    touched = models.BooleanField(default=True)
    published_at = models.DateTimeField(null=True, blank=True)
    cleaned = models.JSONField(default=list, blank=True)
    """What was taken out of it, as [what, path] pairs: jails.freebsd.cleaning. The tree itself says it."""

    class Meta(Base.Meta):
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_template_name_a_host")]


class TrustedManifest(models.Model):
    """The SHA-256 of a release's MANIFEST that a mirror has offered. It counts once an administrator confirmed it.

    For releases that are not in jails.freebsd.manifest.TRUSTED_MANIFESTS. What simulated hosts were offered counts for
    simulated hosts alone.
    """

    release = models.CharField(max_length=63)
    architecture = models.CharField(max_length=32)
    digest = models.CharField(max_length=64)
    simulated = models.BooleanField(default=False)
    source = models.CharField(max_length=1000)
    """Where it was offered, last."""
    host_name = models.CharField(max_length=63)
    offered_at = models.DateTimeField(default=timezone.now)
    confirmed_by = models.ForeignKey("jails.User", models.SET_NULL, null=True, blank=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-offered_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["release", "architecture", "digest", "simulated"], name="one_offer_a_manifest"
            ),
            models.UniqueConstraint(
                fields=["release", "architecture", "simulated"],
                condition=models.Q(confirmed_at__isnull=False),
                name="one_trusted_manifest_a_release",
            ),
        ]

    def __str__(self) -> str:
        return f"MANIFEST of {self.release} {self.architecture}"

    @property
    def is_confirmed(self) -> bool:
        return self.confirmed_at is not None
