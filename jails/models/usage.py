from datetime import timedelta

from django.db import models


class Sample(models.Model):
    """What a jail used at a moment, about once a minute and for a day; `jails.usage` gathers it.

    A jail that did not run has zeros and `running` false. Where there is no sample nobody has measured.
    """

    KEPT = timedelta(hours=25)

    jail = models.ForeignKey("jails.Jail", models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    seconds = models.PositiveSmallIntegerField()
    """How much time it stands for: since the sample before, or what one usually does where there was a gap."""
    running = models.BooleanField()
    cpu = models.FloatField(null=True)
    """Seconds of CPU time since the sample before; None where there is nothing to compare with."""
    memory = models.BigIntegerField(default=0)
    """Resident sets of its processes, in bytes."""
    processes = models.PositiveIntegerField(default=0)
    disk = models.BigIntegerField(default=0)
    """As Jail.used and used_by_snapshots together, in bytes; 0 on UFS, where it is not known."""

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["jail", "at"], name="one_sample_a_moment")]
        indexes = [models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"jail {self.jail_id} at {self.at:%H:%M}"


class UsageHour(models.Model):
    """What a jail used in one hour (UTC), for statements. It outlives the jail: name, host and tenant are as of then.

    Hours that nobody measured have no row; `measured` tells how much of this one was.
    """

    KEPT = timedelta(days=31 * 14)

    jail = models.ForeignKey("jails.Jail", models.SET_NULL, null=True, related_name="usage_hours")
    jail_uuid = models.UUIDField()
    jail_name = models.CharField(max_length=255)
    host_name = models.CharField(max_length=63)
    tenant = models.ForeignKey("jails.Tenant", models.SET_NULL, null=True, related_name="usage_hours")
    hour = models.DateTimeField()
    measured = models.PositiveIntegerField()
    """Seconds."""
    running = models.PositiveIntegerField()
    """Seconds of those in which it ran."""
    cpu = models.FloatField()
    """Seconds of CPU time."""
    memory = models.BigIntegerField()
    """Bytes, on average while it ran."""
    memory_peak = models.BigIntegerField()
    processes_peak = models.PositiveIntegerField()
    disk = models.BigIntegerField()
    """Bytes, on average while it was measured, snapshots included."""
    disk_peak = models.BigIntegerField()

    class Meta:
        ordering = ["hour"]
        constraints = [models.UniqueConstraint(fields=["jail_uuid", "hour"], name="one_usage_an_hour")]
        indexes = [models.Index(fields=["tenant", "hour"]), models.Index(fields=["jail", "hour"])]

    def __str__(self) -> str:
        return f"{self.jail_name} at {self.hour:%Y-%m-%d %H}"


class HostSampling(models.Model):
    """The last time that the jails of a host were measured, and the counters to compare the next one with."""

    host = models.OneToOneField("jails.Host", models.CASCADE, related_name="sampling", primary_key=True)
    at = models.DateTimeField()
    counters = models.JSONField(default=dict)
    """jails.hosts.usage.Counters as JSON."""
    by_racct = models.BooleanField(default=False)
    """Whether the kernel counted CPU time; else it is the sum over processes."""
    hours_until = models.DateTimeField(null=True)
    """Hours that ended by then are in UsageHour."""

    def __str__(self) -> str:
        return f"sampling of host {self.host_id}"
