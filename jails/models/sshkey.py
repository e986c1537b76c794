from django.conf import settings
from django.db import models
from django.utils import timezone

from jails.freebsd.publickey import PublicKey

from .operation import Operation


class SshKey(models.Model):
    """A public key of a person, as it was pasted on their profile."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=60)
    type = models.CharField(max_length=40)
    body = models.TextField()
    fingerprint = models.CharField(max_length=60)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [models.UniqueConstraint(fields=["user", "fingerprint"], name="one_key_a_person")]

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> PublicKey:
        return PublicKey(self.type, self.body, self.name)


class JailKey(models.Model):
    """A key that the panel has put into a jail, for one of its logins.

    It outlives the key's row on the profile: what is in a jail is there until an operation has taken it out.
    """

    jail = models.ForeignKey("jails.Jail", models.CASCADE, related_name="keys")
    login = models.CharField(max_length=32)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="jail_keys")
    name = models.CharField(max_length=60)
    type = models.CharField(max_length=40)
    body = models.TextField()
    fingerprint = models.CharField(max_length=60)
    added_at = models.DateTimeField(default=timezone.now)
    leaving_since = models.DateTimeField(null=True, blank=True)
    """Since when it should be out: its person left the team, or gave the key up."""
    removal = models.ForeignKey(Operation, models.SET_NULL, null=True, blank=True, related_name="+")
    """The operation that takes it out. None where none could be planned: `why_not` says why."""
    why_not = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["jail", "login", "user", "name"]
        constraints = [
            models.UniqueConstraint(fields=["jail", "login", "user", "fingerprint"], name="one_key_a_login"),
        ]
        indexes = [models.Index(fields=["user", "fingerprint"])]

    def __str__(self) -> str:
        return f"{self.name} of {self.user_id} for {self.login} in jail {self.jail_id}"

    @property
    def is_stuck(self) -> bool:
        """Whether nothing is under way any more that would take it out."""
        return self.leaving_since is not None and (self.removal is None or not self.removal.is_open)
