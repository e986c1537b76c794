import uuid

from django.db import models
from django.utils import timezone

from .release import Storage


class Jail(models.Model):
    """A jail on a host: one the panel made (`managed`), one it has adopted, or one a refresh found there.

    Of a jail that is kept (made or adopted), what it should be is the panel's and a difference is drift; of another
    one all of it is the host's. What it is (state, jid, sizes) is as last seen.
    The jid is shown and never used to name a jail: it changes at every start.
    """

    class State(models.TextChoices):
        PENDING = "pending", "Being made"
        RUNNING = "running", "Running"
        STOPPED = "stopped", "Stopped"
        DYING = "dying", "Dying"
        MISSING = "missing", "Missing on the host"

    class Kind(models.TextChoices):
        THICK = "thick", "Thick"
        THIN = "thin", "Thin"
        SANDBOX = "sandbox", "Sandbox"
        FOUND = "found", "Found on the host"

    class Manager(models.TextChoices):
        """Whose files define it. Empty: a running jail that no file knows."""

        STANDARD = "standard", "jail.conf"
        RC_CONF = "rc.conf", "rc.conf variables"
        IOCAGE = "iocage", "iocage"
        EZJAIL = "ezjail", "ezjail"
        BASTILLE = "bastille", "Bastille"
        APPJAIL = "appjail", "AppJail"
        CBSD = "cbsd", "CBSD"
        POT = "pot", "pot"
        BSDPLOY = "bsdploy", "BSDploy"
        IOCELL = "iocell", "iocell"
        JAILADMIN = "jailadmin", "jailadmin"

    class Adoption(models.TextChoices):
        """How a jail that somebody else made came under the panel. Empty: it has not."""

        IN_PLACE = "in place", "Its file stays where it is"
        BESIDE = "beside", "Through its own tool"
        TAKEN_OVER = "taken over", "From its tool, with a standard file"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    host = models.ForeignKey("jails.Host", models.CASCADE, related_name="jails")
    tenant = models.ForeignKey("jails.Tenant", models.PROTECT, null=True, blank=True, related_name="jails")
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    storage = models.CharField(max_length=10, choices=Storage.choices, default=Storage.UFS)
    managed = models.BooleanField(default=False)
    """Made by the panel: its tree and file are the panel's to change and to destroy."""
    manager = models.CharField(max_length=12, choices=Manager.choices, blank=True)
    adoption = models.CharField(max_length=12, choices=Adoption.choices, blank=True)
    found = models.JSONField(default=dict, blank=True)
    """What the files of its own tool say, as jails.freebsd.foreign.ForeignJail has it; empty for a standard one."""
    wanted = models.JSONField(default=dict, blank=True)
    """Parameters of jail.conf(5) that are wanted as they are, on top of what the fields below say: name → list of
    values, or None where the parameter is to be absent. Of an adopted jail all of its file, as it was accepted."""
    way_back = models.JSONField(default=dict, blank=True)
    """What giving an adopted jail back needs to know: `before` and `after`, each path → text of a file (None: it was
    not there), and `boots`, whether our list was changed. Empty where nothing on the host was changed."""
    touched = models.BooleanField(default=True)
    """Whether a tenant has ever had its tree: then the host never follows a path into it."""

    hostname = models.CharField(max_length=255, blank=True)
    boot = models.BooleanField(default=False)
    path = models.CharField(max_length=1023)
    dataset = models.CharField(max_length=255, blank=True)
    origin = models.CharField(max_length=511, blank=True)
    """The snapshot it is a clone of."""
    config_path = models.CharField(max_length=1023, blank=True)
    release = models.ForeignKey("jails.Release", models.RESTRICT, null=True, blank=True, related_name="jails")
    template = models.ForeignKey("jails.Template", models.RESTRICT, null=True, blank=True, related_name="jails")
    limits = models.JSONField(default=dict, blank=True)
    """What the form may limit: `quota` in bytes (ZFS); `memory` in bytes, `cpu` in per cent of one CPU
    and `processes`, as rctl(8) holds a jail to them; `children_max`, `securelevel`, `enforce_statfs`."""
    allotted = models.JSONField(default=dict, blank=True)
    """Of `quota`, `memory`, `cpu` and `processes` those that its tenant's plan was saved with and that are not on the
    host yet: tenant_limits brings them there. They count as used already."""

    expires_at = models.DateTimeField(null=True, blank=True)
    """Of a sandbox: when the panel ends it (jails.sandboxes). None: never."""
    why_not_ended = models.CharField(max_length=300, blank=True)
    """Why it could not be ended when its time was over, for who sees its host."""

    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    state_since = models.DateTimeField(default=timezone.now)
    jid = models.IntegerField(null=True, blank=True)
    observed_addresses = models.JSONField(default=list, blank=True)
    used = models.BigIntegerField(default=0)
    used_by_snapshots = models.BigIntegerField(default=0)
    snapshots = models.IntegerField(default=0)
    """How many its own dataset has."""
    shared = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "name"], name="one_jail_name_a_host")]
        indexes = [
            models.Index(fields=["tenant", "name"]),
            models.Index(fields=["host", "state"]),
            models.Index(fields=["name"]),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_kept(self) -> bool:
        """Whether the panel says what it should be: it made the jail, or has adopted it."""
        return self.managed or bool(self.adoption)

    @property
    def follows_host(self) -> bool:
        """Whether the host alone says what it should be: one that was only found, or is left to its own tool."""
        return not self.managed and self.adoption in ("", self.Adoption.BESIDE)


class Drift(models.Model):
    """A parameter of a kept jail that is not, on its host, what it should be: each of the three None where absent.

    Also `boot` and `file` (the whole of its definition) count as parameters.
    """

    jail = models.ForeignKey(Jail, models.CASCADE, related_name="drifts")
    parameter = models.CharField(max_length=255)
    wanted = models.JSONField(null=True)
    configured = models.JSONField(null=True)
    running = models.JSONField(null=True)
    """None as well while the jail does not run."""
    unheld = models.BooleanField(default=False)
    """A limit of rctl(8) on a host whose kernel keeps none: nobody's doing, and nothing to put right in the jail."""
    first_seen_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["jail", "parameter"]
        constraints = [models.UniqueConstraint(fields=["jail", "parameter"], name="one_drift_a_parameter")]

    def __str__(self) -> str:
        return f"{self.parameter} of {self.jail_id}"
