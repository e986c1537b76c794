"""What the panel is for, on the host of these tests: each kind of operation, through the engine, leaving nothing.

All names begin with the site's prefix. On a real host the story needs CELLBLOCK_LIVE_RELEASE, and it is skipped where
the panel has things of its own already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from jails.hosts.facts import RELEASES, gather
from jails.hosts.refresh import refresh
from jails.models import (
    AuditEntry,
    Drift,
    Host,
    Jail,
    Network,
    Operation,
    Release,
    Template,
    Tenant,
    TrustedManifest,
    User,
)
from jails.operations import engine, layout, lifecycle, release_fetch
from jails.operations.kind import Refused
from tests.live.site import Site

pytestmark = [] if os.environ.get("CELLBLOCK_LIVE_HOST") else [pytest.mark.slow]

Status = Operation.Status
TIMING = engine.Timing(lease=7200, heartbeat=3600, progress=3600, patience=30)
LIMITS = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}
SHARED = (layout.CONSOLE_LOGS, "/var/db/cellblock", "/var/run/cellblock", layout.NEWSYSLOG)
"""What operations make for all jails and leave there."""


def picture(site: Site) -> dict[str, Any]:
    """All of a host that the story could change, without what is different a moment later."""
    zfs = site.sh("kldstat -q -m zfs && zfs list -H -o name,mountpoint,origin,quota -t filesystem,snapshot || true")
    rc = [
        line for line in site.run("cat", "/etc/rc.conf").splitlines() if not line.startswith(("jail_list", "jail_en"))
    ]
    return {
        "zfs": sorted(line for line in zfs.splitlines() if "cellblock" in line or site.prefix in line),
        "mounts": sorted(line.split()[1] for line in site.run("mount", "-p").splitlines()),
        "jails": sorted(site.run("jls", "name").split()),
        "addresses": sorted(re.findall(r"inet6? (\S+)", site.run("ifconfig", "-a"))),
        "files": site.sh(
            'for d in "$@"; do [ -d "$d" ] && find "$d" -maxdepth 2 || true; done | sort; ls -d /jail* || true',
            "/etc/jail.conf.d",
            "/etc/newsyslog.conf.d",
            "/var/db/cellblock",
            "/var/log/cellblock",
            "/var/run/cellblock",
        ).splitlines(),
        "jail.conf": site.sh("cat /etc/jail.conf 2>/dev/null || true"),
        "rc.conf": rc,
    }


@dataclass
class Story:
    site: Site
    row: Host
    user: User
    network: Network

    def refresh(self) -> None:
        refresh(self.row, connection=lambda row: self.site.connection)
        self.row.refresh_from_db()
        assert self.row.state == "up", self.row.unavailable_reason

    def do(self, name: str, /, **parameters: Any) -> Operation:
        self.refresh()
        draft = lifecycle.draft(name, parameters, host=self.row, user=self.user)
        operation = lifecycle.confirm(draft, draft.digest, user=self.user)
        engine.run(operation.pk, worker="live", connect=lambda row: self.site.connection, timing=TIMING)
        operation.refresh_from_db()
        return operation

    def done(self, name: str, /, **parameters: Any) -> Operation:
        operation = self.do(name, **parameters)
        steps = [
            f"{step.status:8} {step.data['purpose']}: {step.error or step.output[-500:]!r}"
            for step in operation.steps.order_by("index")
        ]
        assert operation.status == Status.DONE, "\n".join([f"{name}: {operation.error}", *steps])
        return operation

    def at(self, *last: int) -> list[dict[str, Any]]:
        return [{"network": self.network.pk, "ip": f"198.51.100.{number}"} for number in last]

    def name(self, word: str) -> str:
        return f"{self.site.prefix}-{word}"

    def runs(self, row: Jail) -> bool:
        return row.name in self.site.run("jls", "name").split()

    def inside(self, row: Jail, *argv: str) -> str:
        return self.site.run("jexec", row.name, *argv)

    def release_name(self, kernel: str) -> str:
        """What base.txz says that it is; where it does not tell, what the host runs."""
        text = self.site.sh('tar -xOf "$1/base.txz" ./bin/freebsd-version 2>/dev/null || true', self.site.source)
        found = re.search(r'^USERLAND_VERSION="?([^"\n]+)', text, re.MULTILINE)
        return re.sub(r"-p[0-9]+$", "", found[1] if found else kernel)

    def fetched(self) -> Release:
        """Of the site's source; an administrator vouches for its MANIFEST where nobody has before."""
        facts = gather(self.site.connection, jail_root=self.row.jail_root)
        wish = {
            "release": self.release_name(facts.kernel),
            "architecture": facts.architecture,
            "source": self.site.source,
        }
        operation = self.done("release_fetch", **wish)
        if not Release.objects.filter(host=self.row).exists():
            offered = TrustedManifest.objects.get()
            release_fetch.trust(offered, self.user, offered.digest)
            operation = self.done("release_fetch", **wish)
        assert operation.status == Status.DONE
        return Release.objects.get(host=self.row)

    def created(self, word: str, **more: Any) -> Jail:
        name = self.name(word)
        wish = {
            "name": name,
            "hostname": f"{name}.example.org",
            "addresses": [],
            "boot": False,
            "start": False,
            "tenant": None,
            "release": None,
            "template": None,
            "limits": LIMITS,
        }
        return self.done("jail_create", **(wish | more)).jails.get()


@pytest.fixture
def story(site: Site, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """Afterwards the host is as it was."""
    from jails.operations import queue

    if not site.source:
        pytest.skip("CELLBLOCK_LIVE_RELEASE is not set: it names a folder on that host with MANIFEST and base.txz")
    there = site.sh('for f in "$@"; do [ ! -e "$f" ] || echo "$f"; done', *SHARED[:2]).split()
    there += re.findall(r"^\S+/cellblock$", site.sh("zfs list -H -o name 2>/dev/null || true"), re.MULTILINE)
    if there:
        pytest.skip(f"the panel has things on this host already: {', '.join(there)}")
    monkeypatch.setattr(queue, "_send", lambda *args: True)
    before = picture(site)
    row = Host.objects.create(
        name="live",
        kind=Host.Kind.SSH if site.is_real else Host.Kind.SIMULATED,
        directory="" if site.is_real else "/nowhere",
        jail_root=f"/jail-{site.prefix}",
        pool=site.pool,
    )
    story = Story(
        site,
        row,
        User.objects.create_user("ada", role=User.Role.ADMINISTRATOR),
        # For documentation (RFC 5737), on the loopback interface: nobody else has them, and nobody sees them.
        Network.objects.create(name="live", cidr="198.51.100.0/24", host=row, interface="lo0"),
    )
    try:
        yield story
        left = picture(site)
    finally:
        tidy(site, row.jail_root, keep=before["files"])
    # The folder of its jails is what host_setup makes.
    assert not [text for text in re.findall(r"'([^']*)'", str(left)) if site.prefix in text and text != row.jail_root]
    assert picture(site) == before


def tidy(site: Site, jail_root: str, keep: list[str]) -> None:
    """Take away what operations make for all jails; and, where a test has failed, what bears the prefix."""
    site.sh(
        'for j in $(jls name); do case $j in "$1"-*) jail -R "$j" || true;; esac; done; '
        'rm -f "/etc/jail.conf.d/$1-"*.conf "$2"',
        site.prefix,
        layout.NEWSYSLOG,
    )
    for path in {"/etc/jail.conf.d", "/etc/newsyslog.conf.d"} - set(keep):
        site.sh('rmdir "$1" 2>/dev/null || true', path)
    site.sh(
        "kldstat -q -m zfs || exit 0; "
        "for d in $(zfs list -H -o name | grep '/cellblock$'); do zfs destroy -r -f \"$d\" || true; done"
    )
    for path in {"/var/db/cellblock", "/var/log/cellblock", "/var/run/cellblock", jail_root} - set(keep):
        site.sh('[ ! -d "$1" ] || { chflags -R -x noschg "$1"; rm -rfx "$1"; }', path)


@pytest.mark.timeout(3600)
def test_the_story(story: Story) -> None:
    site = story.site
    story.done("host_setup", reserve=not site.is_real and bool(story.row.pools.exists()))
    release = story.fetched()
    on_zfs = release.storage == "zfs"

    www1 = story.created(
        "www1", kind="thick", storage=release.storage, release=release.pk, addresses=story.at(71), start=True
    )
    assert story.runs(www1) and story.inside(www1, "hostname").strip() == www1.hostname
    assert story.inside(www1, "freebsd-version", "-u").startswith(release.name)
    assert "198.51.100.71" in site.run("ifconfig", "lo0")

    if on_zfs:
        beside = story.created("beside", kind="thick", storage="ufs", release=release.pk, start=True)
        assert story.runs(beside) and beside.path == f"{story.row.jail_root}/{beside.name}"
        assert story.inside(beside, "freebsd-version", "-u").startswith(release.name)
        assert beside.name not in site.run("zfs", "list", "-H", "-o", "name")
        story.done("jail_destroy", jail=str(beside.uuid), name=beside.name)
        assert beside.name not in site.run("ls", story.row.jail_root).split()

    www2 = story.created("www2", kind="thin" if on_zfs else "thick", storage=release.storage, release=release.pk)
    assert not story.runs(www2)
    story.done("jail_start", jails=[str(www2.uuid)])
    assert story.runs(www2)

    change = {"jail": str(www1.uuid), "hostname": "new.example.org", "addresses": story.at(72), "boot": False}
    story.done("jail_change", **change, limits=LIMITS | {"children_max": 1})
    assert story.inside(www1, "hostname").strip() == "new.example.org"
    assert "198.51.100.72" in site.run("ifconfig", "lo0") and "198.51.100.71" not in site.run("ifconfig", "lo0")

    story.done("jail_rename", jail=str(www1.uuid), name=story.name("web"))
    www1.refresh_from_db()
    assert www1.name == story.name("web") and story.runs(www1)
    jid = site.run("jls", "-j", www1.name, "jid")
    story.done("jail_restart", jails=[str(www1.uuid), str(www2.uuid)])
    assert story.runs(www1) and site.run("jls", "-j", www1.name, "jid") != jid
    site.run("service", "jail", "onestop", www1.name)
    assert not story.runs(www1), "its file is not what rc.d/jail reads"

    tenant = Tenant.objects.create(slug="acme", name="Acme")
    story.done("jail_give", jails=[str(www2.uuid)], tenant=tenant.pk)
    assert story.runs(www2) and Jail.objects.get(pk=www2.pk).tenant == tenant
    story.done("jail_give", jails=[str(www2.uuid)], tenant=None)
    story.done("jail_stop", jails=[str(www2.uuid)])
    assert not story.runs(www2)

    template = story.done("template_create", jail=str(www1.uuid), name=story.name("template"), tenant=None)
    template = Template.objects.get(host=story.row)
    www3 = story.created(
        "www3", kind="thin" if on_zfs else "thick", storage=release.storage, template=template.pk, start=True
    )
    assert story.runs(www3)
    story.done("template_publish", template=template.pk)
    if on_zfs:
        with pytest.raises(Refused):
            story.do("template_remove", template=template.pk)

    for row in (www3, www1, www2):
        story.done("jail_destroy", jail=str(row.uuid), name=Jail.objects.get(pk=row.pk).name)
    story.done("template_remove", template=template.pk)
    story.done("release_remove", release=release.pk)
    assert not Jail.objects.filter(host=story.row, managed=True).exists()
    assert site.sh(f"ls -A {RELEASES}") == ""


def drifts(story: Story) -> dict[str, tuple[Any, Any, Any]]:
    """What the next refresh sees: parameter → wanted, configured, running."""
    story.refresh()
    rows = Drift.objects.filter(jail__host=story.row)
    return {row.parameter: (row.wanted, row.configured, row.running) for row in rows}


@pytest.mark.timeout(3600)
def test_drift(story: Story) -> None:
    """What is changed by hand is seen, told once, brought back, and accepted."""
    site = story.site
    story.done("host_setup", reserve=False)
    release = story.fetched()
    www1 = story.created(
        "www1", kind="thick", storage=release.storage, release=release.pk, addresses=story.at(71), start=True
    )
    uuid, hostname, made = str(www1.uuid), www1.hostname, site.run("cat", www1.config_path)
    assert drifts(story) == {}, "as it was made"

    # By hand: in the file, while it runs, and where nobody of the panel's would look.
    edit = 's/host.hostname = .*;/host.hostname = "x.example.org"; # mine/; s/^\tpersist;/\tallow.raw_sockets;\\\n&/'
    site.sh('sed "$2" "$1" >"$1.new" && cat "$1.new" >"$1" && rm "$1.new"', www1.config_path, edit)
    site.run("jail", "-m", f"name={www1.name}", "children.max=2")
    seen = drifts(story)
    assert seen == {
        "host.hostname": ([hostname], ["x.example.org"], [hostname]),
        "allow.raw_sockets": (None, ["true"], ["false"]),
        "children.max": (None, None, ["2"]),
    }
    assert drifts(story) == seen
    told = AuditEntry.objects.filter(action="jail.drift", object_id=str(www1.pk))
    assert [sorted(entry.after) for entry in told] == [sorted(seen)], "once"

    # Back to the panel: the rest of what was written by hand stays.
    jid = site.run("jls", "-j", www1.name, "jid")
    story.done("drift_repair", jail=uuid, parameters=["children.max", "host.hostname"])
    assert list(drifts(story)) == ["allow.raw_sockets"] and site.run("jls", "-j", www1.name, "jid") == jid
    text = site.run("cat", www1.config_path)
    assert text == made.replace(f"{hostname};", f"{hostname}; # mine").replace(
        "\tpersist;", "\tallow.raw_sockets;\n\tpersist;"
    )
    assert site.run("jls", "-j", www1.name, "children.max").strip() == "0"

    # The panel to the host, and what is wanted then holds after a restart.
    before = site.run("cat", www1.config_path)
    story.done("drift_accept", jail=uuid, parameters=None)
    assert site.run("cat", www1.config_path) == before
    assert Jail.objects.get(pk=www1.pk).wanted == {"allow.raw_sockets": ["true"]}
    assert drifts(story) == {"allow.raw_sockets": (["true"], ["true"], ["false"])}
    story.done("jail_restart", jails=[uuid])
    assert drifts(story) == {} and site.run("jls", "-j", www1.name, "allow.raw_sockets").strip() == "1"

    # Another address, stopped with the old file and started with the new one: then as the panel wants it again.
    site.run("service", "jail", "onestop", www1.name)
    site.sh('sed s/198.51.100.71/198.51.100.79/ "$1" >"$1.new" && cat "$1.new" >"$1" && rm "$1.new"', www1.config_path)
    site.run("service", "jail", "onestart", www1.name)
    assert list(drifts(story)) == ["ip4.addr"] and "198.51.100.79" in site.run("ifconfig", "lo0")
    story.done("drift_repair", jail=uuid, parameters=None)
    assert "198.51.100.71" in site.run("ifconfig", "lo0") and "198.51.100.79" not in site.run("ifconfig", "lo0")

    # Its file gone: it is written as the panel has it, with what was accepted.
    site.run("rm", www1.config_path)
    assert list(drifts(story)) == ["file"]
    story.done("drift_repair", jail=uuid, parameters=None)
    assert drifts(story) == {} and "allow.raw_sockets;" in site.run("cat", www1.config_path)

    story.done("jail_destroy", jail=uuid, name=www1.name)
    story.done("release_remove", release=release.pk)
