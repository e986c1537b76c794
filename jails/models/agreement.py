from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

PERSON = settings.AUTH_USER_MODEL


class Work(models.TextChoices):
    """Kinds of work on a jail that somebody must see to."""

    PATCHES = "patches", "Patches"
    BACKUPS = "backups", "Backups"
    PACKAGES = "packages", "Packages"
    FIREWALL = "firewall", "Firewall"
    RESTARTS = "restarts", "Restarts"


class Side(models.TextChoices):
    HOST = "host", "Host"
    TENANT = "tenant", "Tenant"
    EITHER = "either", "Either"

    @property
    def other(self) -> "Side":
        return Side.TENANT if self is Side.HOST else Side.HOST


class Agreement(models.Model):
    """Who sees to what on the jails of a tenant, or on one of them: proposed by one side, accepted by the other.

    Rows stay: what was agreed before, and what was turned down, remains readable. Made by jails.agreements alone.
    """

    class State(models.TextChoices):
        PROPOSED = "proposed", "Proposed"
        IN_FORCE = "in force", "In force"
        REFUSED = "refused", "Turned down"
        WITHDRAWN = "withdrawn", "Withdrawn"
        REPLACED = "replaced", "Replaced"

    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, related_name="agreements")
    jail = models.ForeignKey("jails.Jail", models.CASCADE, null=True, related_name="agreements")
    """None: for all jails of the tenant that have none of their own."""
    terms = models.JSONField(default=dict)
    """Work → Side. What is not in it is as for all the tenant's jails, or as the panel has it."""
    state = models.CharField(max_length=10, choices=State.choices)
    side = models.CharField(max_length=10, choices=Side.choices)
    """Of who proposed it."""
    proposed_by = models.ForeignKey(PERSON, models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=500, blank=True)
    decided_by = models.ForeignKey(PERSON, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    comment = models.CharField(max_length=500, blank=True)
    unread = models.BooleanField(default=False)
    """Set by an administrator alone, and no owner or manager has read of it yet."""

    class Meta:
        ordering = ["-proposed_at", "-pk"]
        # NULL equals no NULL, so that each state needs one for all jails and one for a jail.
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(state="in force", jail=None), name="one_agreement_for_all"
            ),
            models.UniqueConstraint(
                fields=["tenant", "jail"], condition=Q(state="in force"), name="one_agreement_a_jail"
            ),
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(state="proposed", jail=None), name="one_proposal_for_all"
            ),
            models.UniqueConstraint(
                fields=["tenant", "jail"], condition=Q(state="proposed"), name="one_proposal_a_jail"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "state"])]

    def __str__(self) -> str:
        return f"agreement on {self.jail.name if self.jail else 'all jails'}"

    @property
    def host_id(self) -> int | None:
        """For policy.py: an operator of the host is the host's side of it."""
        return self.jail.host_id if self.jail else None


class Approval(models.Model):
    """That one side may do what is the other side's: asked with a reason, granted or not, and for a time.

    For one plan (`operation`, as its `digest` says), then once; or for a kind of work on one jail by who asked, until
    it ends. Made by jails.approvals alone.
    """

    class State(models.TextChoices):
        ASKED = "asked", "Asked"
        GRANTED = "granted", "Granted"
        REFUSED = "refused", "Refused"
        WITHDRAWN = "withdrawn", "Withdrawn"

    ANSWERED_WITHIN = timedelta(days=7)
    ONCE = timedelta(hours=24)
    """How long the approval of one plan holds."""
    LONGEST = timedelta(days=7)

    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, related_name="approvals")
    host = models.ForeignKey("jails.Host", models.SET_NULL, null=True, related_name="+")
    jail = models.ForeignKey("jails.Jail", models.SET_NULL, null=True, related_name="approvals")
    """None for one plan, which may be about several."""
    subject = models.CharField(max_length=300)
    """What it is about, by name, kept when that is gone."""
    work = models.CharField(max_length=10, choices=Work.choices)
    side = models.CharField(max_length=10, choices=Side.choices)
    """Which side is asked."""
    operation = models.ForeignKey("jails.Operation", models.CASCADE, null=True, related_name="asked_for")
    digest = models.CharField(max_length=64, blank=True)
    asked_by = models.ForeignKey(PERSON, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=500)
    lasts = models.DurationField()
    """How long it holds, from when it is granted."""
    state = models.CharField(max_length=10, choices=State.choices, default=State.ASKED)
    expires_at = models.DateTimeField()
    """Until when it may be answered; once granted, until when it holds."""
    decided_by = models.ForeignKey(PERSON, models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    comment = models.CharField(max_length=500, blank=True)
    used_at = models.DateTimeField(null=True)
    """When its plan was confirmed; one for a kind of work is used as often as it is needed."""

    class Meta:
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "tenant", "digest", "asked_by"],
                condition=Q(state="asked"),
                name="one_question_a_plan",
            ),
            models.CheckConstraint(
                condition=Q(operation=None, digest="") | (Q(operation__isnull=False) & ~Q(digest="")),
                name="approval_of_a_plan_has_its_digest",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "state", "expires_at"]), models.Index(fields=["asked_by", "state"])]

    def __str__(self) -> str:
        return f"approval {self.pk}"

    @property
    def is_expired(self) -> bool:
        return self.state in (self.State.ASKED, self.State.GRANTED) and self.expires_at <= timezone.now()

    @property
    def status(self) -> str:
        """The state as of now: `expired` and `used` follow from times. What was taken back is that, used or not."""
        if self.state not in (self.State.ASKED, self.State.GRANTED):
            return self.state
        if self.used_at is not None:
            return "used"
        return "expired" if self.is_expired else self.state
