from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from jails.freebsd import names
from jails.models import Host


class HostForm(forms.ModelForm):
    """Add a host, or change how it is reached. What only the machine knows is learned by its first refresh."""

    class Meta:
        model = Host
        fields = [
            "name",
            "kind",
            "address",
            "port",
            "username",
            "directory",
            "pool",
            "jail_root",
            "interface",
            "worker",
        ]
        labels = {
            "kind": "Reached",
            "username": "Sign in as",
            "pool": "Pool for jails",
            "jail_root": "Jails live under",
            "interface": "Interface for addresses",
        }
        help_texts = {
            "name": "What the panel calls it: letters, digits and dashes.",
            "address": "Host name or address, as the worker reaches it.",
            "username": "root, or a user who may run everything by doas or sudo without a password.",
            "directory": "Of the simulated host, on this machine.",
            "pool": "ZFS pool new jails are made in. Empty: the first one found, or UFS where there is none.",
            "interface": "Where new jails' addresses go. Empty: the one with the default address.",
            "worker": "The queue of the worker that reaches this host.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = [Host.Kind.SSH, Host.Kind.LOCAL, *([Host.Kind.SIMULATED] if settings.DEMO else [])]
        self.fields["kind"].choices = [(kind.value, kind.label) for kind in kinds]
        if not settings.DEMO:
            del self.fields["directory"]
        if self.instance.pk:
            self.fields["name"].disabled = True
            self.fields["kind"].disabled = True
        for name in ("port", "username", "worker", "jail_root"):
            self.fields[name].required = False

    def clean_name(self) -> str:
        return _checked(names.jail_name_error, self.cleaned_data["name"])

    def clean_pool(self) -> str:
        return _checked(names.pool_error, self.cleaned_data["pool"])

    def clean_interface(self) -> str:
        return _checked(names.interface_error, self.cleaned_data["interface"])

    def clean_jail_root(self) -> str:
        return _checked(names.path_error, self.cleaned_data["jail_root"] or "/jail")

    def clean_port(self) -> int:
        port = self.cleaned_data["port"] or 22
        if not 0 < port < 65536:
            raise forms.ValidationError("A port is a number from 1 to 65535.")
        return port

    def clean_username(self) -> str:
        return _checked(names.user_name_error, self.cleaned_data["username"] or "root")

    def clean_worker(self) -> str:
        return _checked(names.jail_name_error, self.cleaned_data["worker"] or "default")

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("kind") == Host.Kind.SSH:
            if not data.get("address"):
                self.add_error("address", "Say where the host is reached: a host name or an address.")
            else:
                problem = address_error(data["address"])
                if problem:
                    self.add_error("address", problem)
        if data.get("kind") == Host.Kind.SIMULATED and not data.get("directory"):
            self.add_error("directory", "Name the folder of the simulated host.")
        return data


class ForgetForm(forms.Form):
    name = forms.CharField(label="Type the host's name to confirm", strip=True)

    def __init__(self, host: Host, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host

    def clean_name(self) -> str:
        if self.cleaned_data["name"] != self.host.name:
            raise forms.ValidationError(f"Type {self.host.name}, exactly.")
        return self.host.name


def _checked(check: Any, value: str) -> str:
    problem = check(value) if value else None
    if problem:
        raise forms.ValidationError(problem)
    return value


def address_error(value: str) -> str | None:
    """What is wrong with a host name or an IP address, or None."""
    if any(check(value) is None for check in (names.hostname_error, names.ip4_error, names.ip6_error)):
        return None
    return "is neither a host name nor an IP address."
