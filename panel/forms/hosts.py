from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from jails.freebsd import names
from jails.models import Host, Worker
from panel.forms.fields import CheckedField


def address_error(value: str) -> str | None:
    """What is wrong with a host name or an IP address, or None."""
    if any(check(value) is None for check in (names.hostname_error, names.ip4_error, names.ip6_error)):
        return None
    return "is neither a host name nor an IP address."


class HostForm(forms.ModelForm):
    """Add a host, or change how it is reached. What only the machine knows is learned by its first refresh."""

    name = CheckedField(names.jail_name_error, help_text="What the panel calls it: letters, digits and dashes.")
    address = CheckedField(
        address_error, required=False, help_text="Host name or IP address, as the worker reaches it."
    )
    port = forms.IntegerField(
        required=False,
        initial=22,
        min_value=1,
        max_value=65535,
        error_messages={
            "min_value": "A port is a number from 1 to 65535.",
            "max_value": "A port is a number from 1 to 65535.",
        },
    )
    username = CheckedField(
        names.user_name_error,
        required=False,
        initial="root",
        label="Sign in as",
        help_text="root, or a user who becomes root by sudo without a password.",
    )
    directory = CheckedField(names.path_error, required=False, help_text="Of the simulated host, on this machine.")
    pool = CheckedField(
        names.pool_error,
        required=False,
        label="Pool for jails",
        help_text="ZFS pool new jails are made in. Empty: the first one found, or UFS where there is none.",
    )
    jail_root = CheckedField(names.path_error, required=False, label="Jails live under", initial="/jail")
    interface = CheckedField(
        names.interface_error,
        required=False,
        label="Interface for addresses",
        help_text="Where new jails' addresses go. Empty: each network's own, or the one with the default address.",
    )
    worker = forms.ChoiceField(initial="default", help_text="The worker that reaches this host.")

    class Meta:
        model = Host
        fields = [
            "kind",
            "name",
            "address",
            "port",
            "username",
            "directory",
            "pool",
            "jail_root",
            "interface",
            "worker",
        ]
        labels = {"kind": "Reached by"}

    PLACE = ("kind", "name", "address", "port", "username", "directory")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = [Host.Kind.SSH, Host.Kind.LOCAL, *([Host.Kind.SIMULATED] if settings.DEMO else [])]
        self.fields["kind"].choices = [(kind.value, kind.label) for kind in kinds]
        if not settings.DEMO:
            del self.fields["directory"]
        if self.instance.pk:
            self.fields["name"].disabled = True
            self.fields["kind"].disabled = True
        workers = {"default", self.instance.worker, *Worker.objects.values_list("name", flat=True)}
        self.fields["worker"].choices = [(name, name) for name in sorted(filter(None, workers))]

    def clean_jail_root(self) -> str:
        return self.cleaned_data["jail_root"] or "/jail"

    def clean_port(self) -> int:
        return self.cleaned_data["port"] or 22

    def clean_username(self) -> str:
        return self.cleaned_data["username"] or "root"

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        kind = data.get("kind")
        if kind == Host.Kind.SSH and not data.get("address") and "address" not in self.errors:
            self.add_error("address", "Say where the host is reached: a host name or an IP address.")
        if kind == Host.Kind.SIMULATED and not data.get("directory") and "directory" not in self.errors:
            self.add_error("directory", "Name the folder of the simulated host.")
        return data

    @property
    def place_fields(self) -> list[forms.BoundField]:
        """How the host is reached; the rest is seldom changed."""
        return [self[name] for name in self.PLACE if name in self.fields]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.PLACE]

    @property
    def more_is_wrong(self) -> bool:
        return any(field.errors for field in self.more_fields)


class ForgetForm(forms.Form):
    name = forms.CharField(label="Type the host's name to confirm", strip=True)

    def __init__(self, host: Host, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host

    def clean_name(self) -> str:
        if self.cleaned_data["name"] != self.host.name:
            raise forms.ValidationError(f"Type {self.host.name}, exactly.")
        return self.host.name
