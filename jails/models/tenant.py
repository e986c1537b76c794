import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from .user import User


class Tenant(models.Model):
    """Who owns jails. Archived tenants keep their name in the log and own nothing."""

    slug = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="tenants")

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Right(models.TextChoices):
    """What a member may be granted: for all jails of the tenant (Membership.rights), or for one (Grant)."""

    POWER = "power", "Power: start, stop, restart"
    CONSOLE = "console", "Console: a shell inside"
    SNAPSHOTS = "snapshots", "Snapshots: make them, go back"
    CREATE = "create", "Create: make new jails"
    DESTROY = "destroy", "Destroy"


def default_rights() -> list[str]:
    return [Right.POWER.value]


class Membership(models.Model):
    class Role(models.TextChoices):
        OWNER = "owner", "Owner"
        MANAGER = "manager", "Manager"
        MEMBER = "member", "Member"
        VIEWER = "viewer", "Viewer"

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.MEMBER)
    rights = models.JSONField(default=default_rights, blank=True)
    """Of a member: which `Right`s on all jails of the tenant. Owners and managers have all, viewers none, whatever
    stands here."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["tenant__slug", "user__username"]
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_membership_a_tenant")]

    def __str__(self) -> str:
        return f"{self.role} {self.user_id} of tenant {self.tenant_id}"


class Grant(models.Model):
    """A right of a member on one jail. It counts only while the jail is of the tenant that the membership is of."""

    membership = models.ForeignKey(Membership, models.CASCADE, related_name="grants")
    jail = models.ForeignKey("jails.Jail", models.CASCADE, related_name="grants")
    right = models.CharField(max_length=10, choices=Right.choices)

    class Meta:
        ordering = ["jail__name", "right"]
        constraints = [models.UniqueConstraint(fields=["membership", "jail", "right"], name="one_grant_of_a_right")]

    def __str__(self) -> str:
        return f"{self.right} on jail {self.jail_id} for membership {self.membership_id}"


def token_digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Invitation(models.Model):
    """A link that works once: to join a tenant, to take a panel role, or to sign in as `user`.

    Only the digest of its token is kept, so a stolen database opens nothing.
    """

    LIFETIME = timedelta(days=7)

    token_digest = models.CharField(max_length=64, unique=True)
    label = models.CharField(max_length=100, blank=True)
    tenant = models.ForeignKey(Tenant, models.CASCADE, null=True, blank=True, related_name="invitations")
    tenant_role = models.CharField(max_length=20, choices=Membership.Role.choices, blank=True)
    tenant_rights = models.JSONField(default=list, blank=True)
    """For who joins as a member: Membership.rights."""
    role = models.CharField(max_length=20, choices=User.Role.choices, blank=True, default="")
    operated_hosts = models.ManyToManyField("jails.Host", blank=True, related_name="+")
    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="+")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    by_command = models.BooleanField(default=False)
    """Made at the panel's command line, whoever sits there: it holds without anybody's right to invite."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.label or f"link {self.pk}"

    @classmethod
    def issue(cls, *, lifetime: timedelta | None = None, **fields: Any) -> tuple["Invitation", str]:
        """A new invitation and its token, which is shown once and kept nowhere."""
        token = secrets.token_urlsafe(32)
        expires_at = timezone.now() + (lifetime or cls.LIFETIME)
        return cls.objects.create(token_digest=token_digest(token), expires_at=expires_at, **fields), token

    @property
    def is_open(self) -> bool:
        return self.used_at is None and self.expires_at > timezone.now()


class TenantPlan(models.Model):
    """What a tenant may have and use; a tenant without one may have what staff give it.

    A number that is None is no limit. The things that may be used are all of their sort (`any_…`), or those that are
    named: when the last of these is removed none is left, and the plan does not grow to all of them.
    """

    tenant = models.OneToOneField(Tenant, models.CASCADE, related_name="plan")
    jails = models.PositiveIntegerField(null=True, blank=True)
    disk = models.PositiveBigIntegerField(null=True, blank=True)
    """Bytes: the sum of the quotas of its jails, each of which must have one."""
    addresses = models.PositiveIntegerField(null=True, blank=True)
    memory = models.PositiveBigIntegerField(null=True, blank=True)
    """Bytes: the sum of the limits of its jails, each of which must have one. So are the two below."""
    cpu = models.PositiveIntegerField(null=True, blank=True)
    """Per cent of one CPU, as pcpu of rctl(8)."""
    processes = models.PositiveIntegerField(null=True, blank=True)
    snapshots = models.PositiveIntegerField(null=True, blank=True)

    any_host = models.BooleanField(default=True)
    any_network = models.BooleanField(default=True)
    any_template = models.BooleanField(default=True)
    any_release = models.BooleanField(default=True)
    hosts = models.ManyToManyField("jails.Host", blank=True, related_name="+")
    networks = models.ManyToManyField("jails.Network", blank=True, related_name="+")
    templates = models.ManyToManyField("jails.Template", blank=True, related_name="+")
    releases = models.ManyToManyField("jails.Release", blank=True, related_name="+")

    def __str__(self) -> str:
        return f"plan of tenant {self.tenant_id}"


class PlanShare(models.Model):
    """How much of a plan's disk is set aside for one host. The shares of a plan are its disk at most, together."""

    plan = models.ForeignKey(TenantPlan, models.CASCADE, related_name="shares")
    host = models.ForeignKey("jails.Host", models.CASCADE, related_name="+")
    disk = models.PositiveBigIntegerField()
    """Bytes."""

    class Meta:
        ordering = ["host__name"]
        constraints = [models.UniqueConstraint(fields=["plan", "host"], name="one_share_a_host")]

    def __str__(self) -> str:
        return f"share of {self.plan} on host {self.host_id}"


class TenantDataset(models.Model):
    """POOL/cellblock/TENANT on a host, as last seen: with the quota that is set there, whatever the plan says."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="datasets")
    host = models.ForeignKey("jails.Host", models.CASCADE, related_name="tenant_datasets")
    name = models.CharField(max_length=255)
    quota = models.PositiveBigIntegerField(null=True, blank=True)
    """Bytes; None for none."""
    used = models.PositiveBigIntegerField(default=0)
    """Bytes, with the snapshots of all its jails."""

    class Meta:
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_dataset_of_a_tenant")]

    def __str__(self) -> str:
        return self.name
