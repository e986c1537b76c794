from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings

from jails.freebsd import fetch, names, uname
from jails.freebsd.manifest import TRUSTED_MANIFESTS
from jails.models import Host, TrustedManifest
from panel.forms.fields import CheckedField

MIRROR = "https://download.freebsd.org/releases"
ARCHIVE = "https://ftp-archive.freebsd.org/pub/FreeBSD-Archive/old-releases"
"""Where releases go some time after their end of life."""


class FetchForm(forms.Form):
    """A release for a host: `parameters` and `chosen_host` once it is valid."""

    host = forms.ChoiceField(label="Host")
    release = CheckedField(names.release_error, label="Release", help_text="As FreeBSD writes it, like 14.2-RELEASE.")
    architecture = forms.ChoiceField(label="Architecture", required=False)
    source = CheckedField(
        fetch.source_error,
        label="Source",
        required=False,
        help_text="A mirror's folder with MANIFEST and base.txz, or a folder on the host. Empty: as this page says.",
    )

    def __init__(self, hosts: Iterable[Host], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.hosts = {host.name: host for host in hosts}
        self.fields["host"].choices = [(name, name) for name in self.hosts]
        arches = [("", "That of the host"), *((arch, arch) for arch in names.ARCHES)]
        self.fields["architecture"].choices = arches
        self.fields["release"].widget.attrs["list"] = "known-releases"
        self.fields["source"].widget.attrs["list"] = "known-sources"

    @property
    def chosen_host(self) -> Host | None:
        name = self["host"].value()
        return self.hosts.get(name) or next(iter(self.hosts.values()), None)

    @property
    def shown_release(self) -> str:
        """The one that is typed, or else the host's own: for the sources that are offered."""
        typed = str(self["release"].value() or "")
        if typed and names.release_error(typed) is None:
            return typed
        return own_release(self.chosen_host) if self.chosen_host else ""

    @property
    def sources(self) -> list[str]:
        host = self.chosen_host
        return sources_of(host, self.shown_release, self._architecture(host)) if host and self.shown_release else []

    def _architecture(self, host: Host) -> str:
        wanted = str(self["architecture"].value() or "")
        return wanted if wanted in names.ARCHES else names.release_arch(host.architecture)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        host = self.hosts.get(data.get("host", ""))
        if host is None or "architecture" in self.errors:
            return data
        data["architecture"] = self._architecture(host)
        if problem := names.arch_error(data["architecture"]):
            self.add_error(
                "architecture", f"{host.name} has not said what it is: choose one. “{host.architecture}” {problem}"
            )
        elif data.get("release") and not data.get("source") and "source" not in self.errors:
            data["source"] = sources_of(host, data["release"], data["architecture"])[0]
        return data

    def parameters(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("release", "architecture", "source")}


def own_release(host: Host) -> str:
    """What the host itself runs, without the patch level; "" where it is not known."""
    try:
        return uname.Release.parse(host.release).name
    except ValueError:
        return ""


def known_releases(hosts: Iterable[Host]) -> list[str]:
    """Releases to choose from, the newest first: none that is newer than every host."""
    known = set(uname.END_OF_LIFE) | {name for name, _ in TRUSTED_MANIFESTS}
    versions = sorted((uname.Release.parse(name) for name in known), reverse=True)
    own = [uname.Release.parse(name) for name in filter(None, map(own_release, hosts))]
    return [version.name for version in versions if not own or version <= max(own)]


def sources_of(host: Host, release: str, architecture: str) -> list[str]:
    """Where the release can be had, the likeliest first."""
    path = f"{architecture}/{release}"
    end = uname.eol_of(release)
    mirrors = [f"{MIRROR}/{path}", f"{ARCHIVE}/{path}"]
    if end is not None and end < date.today():
        mirrors.reverse()
    if settings.DEMO and host.kind == Host.Kind.SIMULATED:
        demo = Path(settings.STATE_DIR) / "mirror" / path
        return [f"http://{settings.MIRROR_LISTEN}/{path}", *mirrors] if demo.is_dir() else mirrors
    return mirrors


class TrustForm(forms.Form):
    """Wants the digest that FreeBSD published typed or pasted: whoever only clicks has compared nothing."""

    digest = forms.CharField(
        label="SHA-256 that FreeBSD published", strip=True, help_text="64 hexadecimal digits, from a place you trust."
    )

    def __init__(self, offer: TrustedManifest, *args: Any, **options: Any) -> None:
        self.offer = offer
        super().__init__(*args, **options)
        self.fields["digest"].widget.attrs |= {"autocomplete": "off", "spellcheck": "false", "class": "mono"}

    def clean_digest(self) -> str:
        digest: str = self.cleaned_data["digest"].lower()
        if len(digest) != 64 or digest.strip("0123456789abcdef"):
            raise forms.ValidationError("is not a SHA-256; expected 64 hexadecimal digits.")
        if digest != self.offer.digest:
            raise forms.ValidationError(
                "is not the one that was offered: do not trust it, and find out who changed it."
            )
        return digest


def offered(query: Mapping[str, Any]) -> dict[str, Any]:
    """Values of an address for a form that is drawn."""
    return {name: query[name] for name in ("host", "release", "architecture", "source") if name in query}
