from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from jails.freebsd import enrol, names, sh
from jails.hosts import destinations
from jails.hosts.hostkey import HostKey
from jails.models import Host, Worker
from panel.forms.fields import CheckedField


def address_error(value: str) -> str | None:
    """What is wrong with a host name or an IP address, or None."""
    if any(check(value) is None for check in (names.hostname_error, names.ip4_error, names.ip6_error)):
        return None
    return "is neither a host name nor an IP address."


ROOT, OF_THE_SITE = "root", "site"
LOCAL_USER = "cellblock-worker"
"""Whom docs/install.md lets workers run as."""


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
    become = forms.ChoiceField(
        required=False,
        initial=ROOT,
        label="Rights",
        widget=forms.RadioSelect(attrs={"class": "form-check-input"}),
        help_text="The panel needs root: it starts jails, mounts and writes /etc. Root by a detour is still root; "
        "what a user of its own gives you is a name in the host's logs, and one line to take away.",
    )
    username = CheckedField(
        names.user_name_error,
        required=False,
        label="That user",
        help_text=f"Empty: {enrol.USER}, or {LOCAL_USER} where it is this machine, whose worker runs as that user.",
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
            "become",
            "username",
            "directory",
            "pool",
            "jail_root",
            "interface",
            "worker",
        ]
        labels = {"kind": "Reached by"}

    PLACE = ("kind", "name", "address", "port", "become", "username", "directory")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kinds = [Host.Kind.SSH, Host.Kind.LOCAL, *([Host.Kind.SIMULATED] if settings.DEMO else [])]
        self.fields["kind"].choices = [(kind.value, kind.label) for kind in kinds]
        if not settings.DEMO:
            del self.fields["directory"]
        if self.instance.pk:
            self.fields["name"].disabled = True
            self.fields["kind"].disabled = True
        self._offer_ways_to_root()
        workers = {"default", self.instance.worker, *Worker.objects.values_list("name", flat=True)}
        self.fields["worker"].choices = [(name, name) for name in sorted(filter(None, workers))]

    def clean_jail_root(self) -> str:
        return self.cleaned_data["jail_root"] or "/jail"

    def clean_port(self) -> int:
        return self.cleaned_data["port"] or 22

    def _offer_ways_to_root(self) -> None:
        ways = [(ROOT, "root itself"), *((tool, f"a user of its own, root by {tool}") for tool in ("doas", "sudo"))]
        if self._way_to_root() == OF_THE_SITE or settings.BECOME[:1] not in (("doas",), ("sudo",)):
            words = sh.words(settings.BECOME)
            ways.append((OF_THE_SITE, f"a user of its own, root by {words} (CELLBLOCK_BECOME)"))
        self.fields["become"].choices = ways
        self.fields["username"].widget.attrs["placeholder"] = enrol.USER
        if self.instance.pk:
            self.initial["become"] = self._way_to_root()
            if self.initial["become"] == ROOT:
                self.initial["username"] = ""

    def _way_to_root(self) -> str:
        """As the host has it now."""
        host = self.instance
        if host.kind == Host.Kind.LOCAL:
            return host.become or ROOT
        return ROOT if host.username in ("", "root") else host.become or OF_THE_SITE

    def _clean_way_to_root(self, data: dict[str, Any]) -> None:
        kind, username = data.get("kind"), data.get("username", "")
        way = data.get("become") or (ROOT if username in ("", "root") else self._way_to_root())
        if kind == Host.Kind.SIMULATED or "become" in self.errors:
            data["become"] = ""
            data["username"] = username or "root"
            return
        if data.get("become") == ROOT:
            # A field that one does not see then.
            self.errors.pop("username", None)
            username = "root"
        elif way != ROOT and username == "root":
            self.add_error("username", "root needs no detour: choose “root itself”, or name another user.")
        elif way != ROOT and not username:
            username = LOCAL_USER if kind == Host.Kind.LOCAL else enrol.USER
        data["username"] = username or "root"
        data["become"] = "" if way in (ROOT, OF_THE_SITE) else way

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        kind = data.get("kind")
        if kind == Host.Kind.SSH and not data.get("address") and "address" not in self.errors:
            self.add_error("address", "Say where the host is reached: a host name or an IP address.")
        elif kind == Host.Kind.SSH and (why := destinations.why_not(data.get("address") or "", settings.HOST_NETWORKS)):
            self.add_error("address", why)
        self._clean_way_to_root(data)
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


class CompareForm(forms.Form):
    """What the host itself says of its key, compared with the key it offered to the panel."""

    fingerprint = forms.CharField(
        max_length=4096,
        strip=True,
        label="Fingerprint, as the host shows it",
        widget=forms.Textarea(
            attrs={"rows": 2, "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "class": "mono"}
        ),
        error_messages={"required": "Paste what ssh-keygen prints on the host; then the panel compares."},
    )

    def __init__(self, offered: HostKey, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offered = offered

    def clean_fingerprint(self) -> str:
        pasted: str = self.cleaned_data["fingerprint"]
        try:
            is_equal = self.offered.compare(pasted)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if not is_equal:
            raise forms.ValidationError(
                f"Not equal: the panel was shown {self.offered.fingerprint}. Do not pin it. Either this is of another "
                "machine, or somebody else answers for the host."
            )
        return pasted


class SourceForm(forms.Form):
    """From where alone the worker's key shall be good."""

    source = CheckedField(
        enrol.source_error,
        required=False,
        label="Only from this address",
        help_text="The worker's, as the host sees it: an address, or a network such as 192.0.2.0/24.",
    )


class ForgetForm(forms.Form):
    name = forms.CharField(label="Type the host's name to confirm", strip=True)

    def __init__(self, host: Host, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host

    def clean_name(self) -> str:
        if self.cleaned_data["name"] != self.host.name:
            raise forms.ValidationError(f"Type {self.host.name}, exactly.")
        return self.host.name
