from django.conf import settings
from django.db import models
from django.utils import timezone


class AuditReview(models.Model):
    """An entry of the log that a rule wants somebody to look at, and who has. Made by jails.review alone.

    Who did what is copied from the entry: it decides who may sign it off. Nothing here is ever removed, and each
    sign-off is an entry of the log itself.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        SECOND = "second", "Needs a second person"
        DONE = "done", "Signed off"

    sequence = models.BigIntegerField()
    rule = models.CharField(max_length=30)
    grave = models.BooleanField(default=False)
    """Two different people must sign it off."""
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=150, blank=True)
    tenant_id = models.BigIntegerField(null=True)
    first_reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    first_comment = models.CharField(max_length=1000, blank=True)
    first_at = models.DateTimeField(null=True)
    second_reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    second_comment = models.CharField(max_length=1000, blank=True)
    second_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["sequence", "rule"], name="one_review_a_rule")]
        indexes = [models.Index(fields=["state", "-id"])]

    def __str__(self) -> str:
        return f"entry {self.sequence}"


class ReviewMark(models.Model):
    """The one row that says how far the rules have read the log."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"reviewed to {self.sequence}"


class SavedSearch(models.Model):
    """Filters of the log under a name: one's own, or shared with all who see the whole log."""

    MOST = 50
    """Of one person."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="searches")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000)
    """Of the address of the log's page, with the filters alone: `action=jail.destroy&host=warden1`."""
    shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="one_search_a_name")]

    def __str__(self) -> str:
        return self.name
