import uuid
from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Operation(models.Model):
    """A wish for a host: planned, confirmed, run step by step, kept.

    `plan` is what the person saw, for display only; workers plan again, compare `digest`, and run their own steps.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        UNDOING = "undoing", "Rolling back"
        DONE = "done", "Done"
        FAILED = "failed", "Failed, undone"
        CANCELLED = "cancelled", "Cancelled, undone"
        STALE = "stale", "The host has changed"
        STUCK = "stuck", "Needs attention"
        REFUSED = "refused", "Refused"
        DISCARDED = "discarded", "Discarded"

    OPEN = (Status.QUEUED, Status.RUNNING, Status.UNDOING)
    """A worker has it or should take it."""
    ENDED = (Status.DONE, Status.FAILED, Status.CANCELLED, Status.STUCK, Status.REFUSED, Status.DISCARDED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=300)
    parameters = models.JSONField(default=dict)
    host = models.ForeignKey("jails.Host", models.SET_NULL, null=True, related_name="operations")
    host_name = models.CharField(max_length=63)
    tenant = models.ForeignKey("jails.Tenant", models.SET_NULL, null=True, blank=True, related_name="operations")
    jails = models.ManyToManyField("jails.Jail", blank=True, related_name="operations")
    subject = models.CharField(max_length=300, blank=True)
    """What it is about, by name, kept when the thing is gone."""

    plan = models.JSONField(default=dict)
    digest = models.CharField(max_length=64, blank=True)
    requested_by = models.ForeignKey("jails.User", models.SET_NULL, null=True, related_name="operations")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    confirmed_by = models.ForeignKey("jails.User", models.SET_NULL, null=True, blank=True, related_name="+")
    confirmed_at = models.DateTimeField(null=True, blank=True)
    confirmed_digest = models.CharField(max_length=64, blank=True)

    approvals = models.ManyToManyField("jails.Approval", blank=True, related_name="used_for")
    """By which it was confirmed, where the operating agreement gives it to the other side."""
    approved_by = models.CharField(max_length=200, blank=True)
    """The same in words, for the log: `approval 12 of owner-person`, `break-glass 3`."""
    on_behalf_of = models.CharField(max_length=150, blank=True)
    """Who approved it."""

    status = models.CharField(max_length=12, choices=Status.choices, default=Status.DRAFT)
    sealed = models.CharField(max_length=64, blank=True)
    """A worker's HMAC over what it decided to run: id, kind, parameters, plan and number of steps. Empty at its end."""
    was = models.JSONField(default=dict, blank=True)
    """What its jails were when a worker began it (jails.operations.noted), for its entry of the log."""
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey("jails.User", models.SET_NULL, null=True, blank=True, related_name="+")
    resumed_at = models.DateTimeField(null=True, blank=True)
    """When somebody last wanted it taken up again, after it could go neither on nor back."""
    resumed_by = models.ForeignKey("jails.User", models.SET_NULL, null=True, blank=True, related_name="+")
    error = models.TextField(blank=True)
    """One sentence: what failed and what was undone."""
    waiting_for = models.CharField(max_length=300, blank=True)
    """In words: which resource or running command it waits for."""

    lease_owner = models.CharField(max_length=128, blank=True)
    lease_token = models.PositiveBigIntegerField(default=0)
    """Raised by every worker that takes the operation; writes with an older one are refused."""
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    unreachable_since = models.DateTimeField(null=True, blank=True)
    """Since when its host has not answered it; a worker tries again, with back-off, for a limited time."""
    sent_at = models.DateTimeField(null=True, blank=True)
    """When a message for it was last sent; the sweeper sends again what waits too long."""
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="retries")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at"]
        # Plans are long, and pages ask again and again: what they ask for is found without reading a row.
        indexes = [
            models.Index(fields=["-created_at"]),
            models.Index(fields=["status", "created_at"]),
            models.Index(fields=["status", "changed_at"]),
            models.Index(fields=["tenant", "-created_at", "status", "changed_at"]),
            models.Index(fields=["tenant", "status", "finished_at"]),
            models.Index(fields=["host", "-created_at", "status", "changed_at"]),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def short_id(self) -> str:
        return str(self.id)[:8]

    @property
    def took(self) -> timedelta | None:
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def has_ended(self) -> bool:
        return self.status in self.ENDED


class OperationStep(models.Model):
    """A step as a worker runs it. `data` is jails.operations.step.Step as JSON, `seal` the worker's HMAC over it."""

    class Status(models.TextChoices):
        PENDING = "pending", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        SKIPPED = "skipped", "Was so already"
        FAILED = "failed", "Failed"
        UNDOING = "undoing", "Undoing"
        UNDONE = "undone", "Undone"
        KEPT = "kept", "Not undone"

    operation = models.ForeignKey(Operation, models.CASCADE, related_name="steps")
    index = models.PositiveIntegerField()
    data = models.JSONField()
    seal = models.CharField(max_length=64)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PENDING)
    state_seal = models.CharField(max_length=64, blank=True)
    """The worker's HMAC over how far it is, how it ended and what it captured, made anew with every change of them."""
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    rc = models.IntegerField(null=True, blank=True)
    output = models.TextField(blank=True)
    error = models.TextField(blank=True)
    captured = models.JSONField(default=dict, blank=True)
    progress = models.BigIntegerField(null=True, blank=True)
    """Bytes so far, where the step names a file to watch."""
    progress_total = models.BigIntegerField(null=True, blank=True)
    command = models.TextField(blank=True)
    """What was really typed, where it was decided only when the step ran."""

    class Meta:
        ordering = ["operation", "index"]
        constraints = [models.UniqueConstraint(fields=["operation", "index"], name="one_step_an_index")]

    def __str__(self) -> str:
        return f"step {self.index + 1} of {self.operation_id}"


class ResourceLock(models.Model):
    """A resource an operation holds until it ends, however many workers it takes: `host:3/jail:www1`."""

    resource = models.CharField(max_length=300, primary_key=True)
    operation = models.ForeignKey(Operation, models.CASCADE, related_name="locks")
    step = models.PositiveIntegerField(null=True, blank=True)
    """Held for one step only."""
    taken_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(resource=""), name="resource_is_named")]

    def __str__(self) -> str:
        return self.resource
