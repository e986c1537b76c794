from django.db import models
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
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


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

    class Meta(Base.Meta):
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_template_name_a_host")]
