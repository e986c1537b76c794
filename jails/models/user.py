from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. `role` is what they may do in the whole panel; what they may do in a tenant is their membership."""

    class Role(models.TextChoices):
        NONE = "", "None"
        ADMINISTRATOR = "administrator", "Administrator"
        OPERATOR = "operator", "Operator"
        AUDITOR = "auditor", "Auditor"

    role = models.CharField(max_length=20, choices=Role.choices, blank=True, default=Role.NONE)
    factors_forgotten_at = models.DateTimeField(null=True, blank=True)
    """When somebody else removed their second factors, until they were told."""
    wants_summary = models.BooleanField(default=False)
    """The week's summary of the log, by mail."""
    summary_sent_for = models.DateField(null=True, blank=True)
    """The Monday of the last week that was summed up for them."""
    hidden_columns = models.JSONField(default=dict, blank=True)
    """Name of a list → columns of it that they do not want to see: `{"jails": ["size"]}`."""
    operated_hosts = models.ManyToManyField("jails.Host", blank=True, related_name="operators")

    class Meta:
        ordering = ["username"]

    def __str__(self) -> str:
        return self.username

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username

    @property
    def is_administrator(self) -> bool:
        return self.is_active and self.role == self.Role.ADMINISTRATOR

    @property
    def is_operator(self) -> bool:
        return self.is_active and self.role == self.Role.OPERATOR

    @property
    def is_auditor(self) -> bool:
        return self.is_active and self.role == self.Role.AUDITOR
