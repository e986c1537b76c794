from datetime import timedelta

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from jails.hosts.access import Access
from jails.hosts.hostkey import HostKey


class Worker(models.Model):
    """A worker process group that serves hosts; hosts name theirs, and say so when it has not been seen lately."""

    SILENT_AFTER = timedelta(seconds=60)

    name = models.CharField(max_length=64, primary_key=True)
    seen_at = models.DateTimeField()
    public_key = models.TextField(blank=True)
    """The line for a host's authorized_keys. The private part never leaves the worker."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_silent(self) -> bool:
        return self.seen_at < timezone.now() - self.SILENT_AFTER


class Host(models.Model):
    """A FreeBSD machine, and what its last refresh learned in short. The whole of it is in HostFactsRecord."""

    class Kind(models.TextChoices):
        LOCAL = "local", "This machine"
        SSH = "ssh", "SSH"
        SIMULATED = "simulated", "Simulated"

    class Become(models.TextChoices):
        DOAS = "doas", "doas"
        SUDO = "sudo", "sudo"

    name = models.CharField(max_length=63, unique=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    address = models.CharField(max_length=255, blank=True)
    port = models.PositiveIntegerField(default=22)
    username = models.CharField(max_length=32, default="root", blank=True)
    become = models.CharField(max_length=8, choices=Become.choices, blank=True)
    """How `username` gets root's rights: nothing for root itself, and then for others what CELLBLOCK_BECOME says.

    Of this machine: how the worker's own user does, nothing where the worker runs as root.
    """
    host_key = models.TextField(blank=True)
    """Pinned by an administrator who compared it, as a known_hosts line has it: type and base64."""
    offered_key = models.TextField(blank=True)
    """What the host showed when no key was pinned yet, or another than the pinned one; never used until pinned."""
    directory = models.CharField(max_length=500, blank=True)
    """Of a simulated host."""
    worker = models.CharField(max_length=64, default="default")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    pool = models.CharField(max_length=255, blank=True)
    """The ZFS pool new jails live in; empty for a host without ZFS."""
    jail_root = models.CharField(max_length=255, default="/jail")
    interface = models.CharField(max_length=15, blank=True)
    """Where new jails' addresses go unless their network says otherwise."""

    hostname = models.CharField(max_length=255, blank=True)
    release = models.CharField(max_length=64, blank=True)
    architecture = models.CharField(max_length=32, blank=True)
    booted_at = models.DateTimeField(null=True, blank=True)
    processors = models.PositiveIntegerField(default=0)
    memory = models.BigIntegerField(default=0)
    refreshed_at = models.DateTimeField(null=True, blank=True)
    unavailable_since = models.DateTimeField(null=True, blank=True)
    unavailable_reason = models.CharField(max_length=500, blank=True)
    refresh_wanted_at = models.DateTimeField(null=True, blank=True)
    refresh_failures = models.PositiveIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("host", args=[self.name])

    @property
    def offered(self) -> HostKey | None:
        """What there is to compare: its type, fingerprint, and the file on the host it is in."""
        return _key(self.offered_key)

    @property
    def pinned(self) -> HostKey | None:
        return _key(self.host_key)

    @property
    def becomes_root_by(self) -> tuple[str, ...]:
        """The words before each command that give it root's rights without a password; none where it has them.

        On this machine the worker is root itself unless `become` says otherwise. Over SSH another user than root does
        as `become` says, or else as the site does.
        """
        is_other = self.kind == self.Kind.SSH and self.username not in ("", "root")
        if self.become and (is_other or self.kind == self.Kind.LOCAL):
            return (self.become, "-n")
        return tuple(settings.BECOME) if is_other else ()

    @property
    def available(self) -> bool:
        return self.refreshed_at is not None and self.unavailable_since is None

    @property
    def state(self) -> str:
        """`up`, `unavailable`, `unpinned` while its key waits to be compared, or `new` before its first answer."""
        if self.offered_key:
            return "unpinned"
        if self.unavailable_since:
            return "unavailable"
        return "up" if self.refreshed_at else "new"


def _key(line: str) -> HostKey | None:
    try:
        return HostKey.parse(line)
    except ValueError:
        return None


class HostFactsRecord(models.Model):
    """All that the last refresh of a host learned: jails.hosts.facts.HostFacts as JSON."""

    host = models.OneToOneField(Host, models.CASCADE, related_name="facts_record", primary_key=True)
    data = models.JSONField()
    gathered_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"facts of host {self.host_id}"


class HostSurveyRecord(models.Model):
    """What is looked at less often than facts: jails.hosts.survey.HostSurvey as JSON."""

    host = models.OneToOneField(Host, models.CASCADE, related_name="survey_record", primary_key=True)
    data = models.JSONField()
    gathered_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"survey of host {self.host_id}"


class HostAccessRecord(models.Model):
    """The last test of what the panel may do on a host: jails.hosts.access.Access as JSON; when one was asked for."""

    host = models.OneToOneField(Host, models.CASCADE, related_name="access_record", primary_key=True)
    data = models.JSONField(default=dict, blank=True)
    wanted_at = models.DateTimeField()
    tested_at = models.DateTimeField(null=True, blank=True)

    PATIENCE = timedelta(minutes=2)
    """After which a test that has left no trace counts as lost."""

    def __str__(self) -> str:
        return f"access to host {self.host_id}"

    @property
    def is_wanted(self) -> bool:
        return self.tested_at is None or self.tested_at < self.wanted_at

    @property
    def is_under_way(self) -> bool:
        return self.is_wanted and self.wanted_at > timezone.now() - self.PATIENCE

    @property
    def access(self) -> Access:
        return Access.from_data(self.data)


class Pool(models.Model):
    """A zpool as last seen. Sizes in bytes."""

    host = models.ForeignKey(Host, models.CASCADE, related_name="pools")
    name = models.CharField(max_length=255)
    size = models.BigIntegerField(default=0)
    used = models.BigIntegerField(default=0)
    available = models.BigIntegerField(default=0)
    snapshots = models.BigIntegerField(default=0)
    reserve = models.BigIntegerField(default=0)
    """Held back by an unmounted dataset's `reservation`: it counts as used in zpool's and zfs's numbers."""
    health = models.CharField(max_length=20, default="UNKNOWN")

    class Meta:
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_pool_name_a_host")]

    def __str__(self) -> str:
        return self.name

    @property
    def total(self) -> int:
        """Bytes in all, the reserve too."""
        return self.used + self.available

    @property
    def percent(self) -> int:
        """How full, of what data may use."""
        return self._share(self.used - self.reserve, self.total - self.reserve)

    @property
    def data(self) -> int:
        """Bytes used, without snapshots and reserve."""
        return max(0, self.used - self.snapshots - self.reserve)

    @property
    def data_share(self) -> int:
        return self._share(self.data)

    @property
    def snapshot_share(self) -> int:
        return self._share(self.snapshots)

    @property
    def reserve_share(self) -> int:
        return self._share(self.reserve)

    @property
    def reserve_start(self) -> int:
        return 100 - self.reserve_share

    def _share(self, part: int, whole: int | None = None) -> int:
        whole = self.total if whole is None else whole
        return max(0, min(100, round(100 * part / whole))) if whole > 0 else 0
