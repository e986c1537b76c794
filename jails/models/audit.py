from django.db import models

_FILTERS = ("actor", "action", "outcome", "host", "tenant", "tenant_id", "at")


def _beside(first: str) -> list[str]:
    return [name for name in _FILTERS if name != first]


class AuditEntry(models.Model):
    """One line of the log. Names and ids are copied, not referred to: what they meant then must stay readable.

    Rows are appended by jails.audit.record only; triggers refuse to change or delete them.
    """

    sequence = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=150)
    on_behalf_of = models.CharField(max_length=150, blank=True)
    source = models.CharField(max_length=64, blank=True)
    """Where from: an IP address, or `worker`, `command line`."""
    tenant_id = models.BigIntegerField(null=True)
    tenant = models.CharField(max_length=32, blank=True)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=300, blank=True)
    host = models.CharField(max_length=63, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    plan_digest = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=20)
    detail = models.TextField(blank=True)
    operation = models.CharField(max_length=36, blank=True)
    # NULL where there is none, as in the entries from before there was this column: what they were hashed without.
    approval = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    """By which approval it was done, where it needed one: `approval 12 of owner-person`, `break-glass 3`."""
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-sequence"]
        verbose_name_plural = "audit entries"
        # What the log is filtered by alone or first has the other filters beside it, so that no row is read in vain.
        indexes = [
            models.Index(name="audit_by_time", fields=["-at", "-sequence", *_beside("at")]),
            models.Index(name="audit_by_tenant_id", fields=["tenant_id", "-sequence", *_beside("tenant_id")]),
            models.Index(name="audit_by_tenant", fields=["tenant", "-sequence", *_beside("tenant")]),
            models.Index(name="audit_by_actor", fields=["actor", "-sequence", *_beside("actor")]),
            models.Index(name="audit_by_host", fields=["host", "-sequence", *_beside("host")]),
            models.Index(name="audit_by_action", fields=["action", "-sequence", "outcome", "at"]),
            models.Index(name="audit_by_outcome", fields=["outcome", "-sequence", "at"]),
            models.Index(fields=["operation"]),
            models.Index(fields=["object_type", "object_id", "-sequence"]),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action}"


class AuditHead(models.Model):
    """The one row that says where the chain ends. Locked last before a commit."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"head {self.sequence}"
