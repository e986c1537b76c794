from django.db import models
from django.db.models import Q


class Network(models.Model):
    """Addresses the panel may give to jails. Shared by all hosts, or private to one (a loopback clone, say)."""

    name = models.CharField(max_length=63)
    cidr = models.CharField(max_length=50)
    host = models.ForeignKey("jails.Host", models.CASCADE, null=True, blank=True, related_name="networks")
    interface = models.CharField(max_length=15, blank=True)
    """Empty: each host's own default interface."""

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name", "host"], name="one_network_name_a_host"),
            models.UniqueConstraint(fields=["name"], condition=Q(host__isnull=True), name="one_shared_network_name"),
            models.UniqueConstraint(fields=["cidr", "host"], name="one_network_cidr_a_host"),
            models.UniqueConstraint(fields=["cidr"], condition=Q(host__isnull=True), name="one_shared_network_cidr"),
        ]

    def __str__(self) -> str:
        return self.name


class Address(models.Model):
    """An address the panel has given to a jail: unique in its network, so that of two requests one wins."""

    network = models.ForeignKey(Network, models.RESTRICT, related_name="addresses")
    ip = models.GenericIPAddressField()
    jail = models.ForeignKey("jails.Jail", models.CASCADE, related_name="addresses")
    interface = models.CharField(max_length=15, blank=True)
    prefix = models.PositiveSmallIntegerField(default=32)
    operation = models.ForeignKey("jails.Operation", models.SET_NULL, null=True, blank=True, related_name="+")
    """Which operation took it, while that is under way: it is given back when the operation is undone."""

    class Meta:
        ordering = ["network", "ip"]
        verbose_name_plural = "addresses"
        constraints = [models.UniqueConstraint(fields=["network", "ip"], name="one_address_a_network")]

    def __str__(self) -> str:
        return self.ip


class ObservedAddress(models.Model):
    """An address seen on a host's interface at its last refresh. May repeat: that is a conflict to show."""

    host = models.ForeignKey("jails.Host", models.CASCADE, related_name="observed_addresses")
    ip = models.GenericIPAddressField()
    prefix = models.PositiveSmallIntegerField(default=32)
    interface = models.CharField(max_length=15)
    jail_name = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["host", "interface", "ip"]
        indexes = [models.Index(fields=["ip"])]

    def __str__(self) -> str:
        return f"{self.ip} on {self.interface or self.jail_name}"
