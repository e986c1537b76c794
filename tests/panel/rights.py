"""Who gets what answer at every address: written by hand, from what the roles shall be, not from policy.py.

The letters are people, in the world of `test_rights.world`:

    A administrator          O owner of acme       S owner of globex
    P operator of warden1    M member of acme      N may sign in, has no role
    Q operator of warden2    V viewer of acme      D was an administrator and acme's owner, is disabled, has a session
    U auditor                                      X anonymous

On warden1 are www1, which is acme's, and loghost, which is nobody's; on warden2 shop, globex's, and logdb, nobody's.

An answer is a status, `login` (sent to the sign-in page) or `away` (sent anywhere else: done, or told why not on the
next page). Staff who may not do a thing they see get 403. To tenants forbidden and not found are the same: 404.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PEOPLE = "APQUOMVSNDX"
GET, POST = "GET", "POST"


@dataclass(frozen=True)
class Row:
    """`about`: names of things of the world, in the order of the address's parts; `data`: what is sent, where a name in
    braces is that thing's id (or digest, or token)."""

    name: str
    method: str
    about: tuple[str, ...]
    answers: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def expected(self) -> dict[str, str]:
        """Letter → answer. Everybody has exactly one."""
        found: dict[str, str] = {}
        for part in self.answers.split(","):
            answer, letters = part.split()
            for letter in PEOPLE if letters == "*" else letters:
                assert letter not in found, f"{self}: {letter} twice"
                found[letter] = answer
        assert sorted(found) == sorted(PEOPLE), f"{self}: not everybody"
        return {letter: found[letter] for letter in PEOPLE}

    def __str__(self) -> str:
        sent = "" if not self.data else " " + "&".join(f"{key}={value}" for key, value in self.data.items())
        return f"{self.method} {self.name} {' '.join(self.about)}{sent}".strip()


def rows(name: str, /, *about: str, get: str = "405 *", post: str = "405 *", **data: Any) -> list[Row]:
    return [Row(name, GET, about, get), Row(name, POST, about, post, data)]


def send(name: str, /, *about: str, answers: str, method: str = POST, **data: Any) -> list[Row]:
    return [Row(name, method, about, answers, data)]


SIGNED_IN = "200 APQUOMVSN, login DX"
STAFF = "200 APQU, 404 OMVSN, login DX"

ROWS: list[Row] = [
    *rows("home", get=SIGNED_IN),
    *rows("search", get=SIGNED_IN),
    *rows("tray", get=SIGNED_IN),
    *rows("health", get="200 *"),
    # Hosts
    *rows("hosts", get=STAFF),
    *rows("host-add", get="200 A, 403 PQU, 404 OMVSN, login DX", post="422 A, 403 PQU, 404 OMVSN, login DX", name=""),
    *send(
        "host-add",
        answers="away A, 403 PQU, 404 OMVSN, login DX",
        name="warden9",
        kind="ssh",
        address="192.0.2.9",
        worker="default",
    ),
    *rows("host", "warden1", get="200 APU, 404 QOMVSN, login DX"),
    *rows("host", "warden2", get="200 AQU, 404 POMVSN, login DX"),
    *rows("host", "no-host", get="404 APQUOMVSN, login DX"),
    *rows("host-refresh", "warden1", post="away AP, 403 U, 404 QOMVSN, login DX"),
    *rows("host-refresh", "warden2", post="away AQ, 403 U, 404 POMVSN, login DX"),
    *rows("host-survey", "warden1", post="away AP, 403 U, 404 QOMVSN, login DX"),
    *rows("host-survey", "warden2", post="away AQ, 403 U, 404 POMVSN, login DX"),
    *rows("host-ports", "warden1", get="200 APU, 404 QOMVSN, login DX"),
    *rows("host-ports", "warden2", get="200 AQU, 404 POMVSN, login DX"),
    *rows(
        "host-orphans",
        "warden1",
        get="200 AU, 403 P, 404 QOMVSN, login DX",
        post="away A, 403 PU, 404 QOMVSN, login DX",
        orphans=["alias:192.0.2.77"],
    ),
    *rows(
        "host-orphans",
        "warden2",
        get="200 AU, 403 Q, 404 POMVSN, login DX",
        post="away A, 403 QU, 404 POMVSN, login DX",
        orphans=["alias:192.0.2.77"],
    ),
    *rows("host-setup", "warden1", post="away AP, 403 U, 404 QOMVSN, login DX"),
    *rows("host-setup", "warden2", post="away AQ, 403 U, 404 POMVSN, login DX"),
    *rows("host-readiness", "warden1", get="200 APU, 404 QOMVSN, login DX"),
    *rows("host-readiness", "warden2", get="200 AQU, 404 POMVSN, login DX"),
    *rows(
        "host-fix",
        "warden1",
        "fix for operators",
        get="away AP, 403 U, 404 QOMVSN, login DX",
        post="away AP, 403 U, 404 QOMVSN, login DX",
    ),
    *rows(
        "host-fix",
        "warden2",
        "fix for operators",
        get="away AQ, 403 U, 404 POMVSN, login DX",
        post="away AQ, 403 U, 404 POMVSN, login DX",
    ),
    *rows(
        "host-fix",
        "warden1",
        "fix for administrators",
        get="away A, 403 PU, 404 QOMVSN, login DX",
        post="away A, 403 PU, 404 QOMVSN, login DX",
    ),
    *rows(
        "host-fix",
        "warden1",
        "fix of sshd",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="422 A, 403 PU, 404 QOMVSN, login DX",
        addresses="192.0.2.99",
    ),
    *rows(
        "host-fix",
        "warden1",
        "no fix",
        get="404 APQOMVSN, 403 U, login DX",
        post="404 APQOMVSN, 403 U, login DX",
    ),
    *rows(
        "host-access",
        "warden1",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="away A, 403 PU, 404 QOMVSN, login DX",
    ),
    *rows(
        "host-access",
        "warden2",
        get="200 A, 403 QU, 404 POMVSN, login DX",
        post="away A, 403 QU, 404 POMVSN, login DX",
    ),
    *send("host-access", "warden1", answers="away A, 403 PU, 404 QOMVSN, login DX", trust="ssh-ed25519 AAAA"),
    *rows(
        "host-change",
        "warden1",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="422 A, 403 PU, 404 QOMVSN, login DX",
        jail_root="not a path",
    ),
    *send("host-change", "warden1", answers="away A, 403 PU, 404 QOMVSN, login DX", trust="ssh-ed25519 AAAA"),
    *rows(
        "host-forget",
        "warden1",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="away A, 403 PU, 404 QOMVSN, login DX",
        name="warden1",
    ),
    *rows(
        "host-forget",
        "warden2",
        get="200 A, 403 QU, 404 POMVSN, login DX",
        post="away A, 403 QU, 404 POMVSN, login DX",
        name="warden2",
    ),
    # Jails
    *rows("jails", get=SIGNED_IN),
    *rows(
        "jail-create",
        get="200 APQ, 403 U, 404 OMVSN, login DX",
        post="422 APQ, 403 U, 404 OMVSN, login DX",
    ),
    *send("jail-create", answers="200 AP, 403 U, 404 QOMVSN, login DX", method=GET, host="warden1"),
    *send("jail-create", answers="422 AP, 403 U, 404 QOMVSN, login DX", host="warden1"),
    *send("jail-create", answers="422 AQ, 403 U, 404 POMVSN, login DX", host="warden2"),
    *rows("jail-create-check", post="200 APQ, 403 U, 404 OMVSN, login DX"),
    *send("jail-create-check", answers="200 AQ, 403 U, 404 POMVSN, login DX", host="warden2"),
    *rows("jails-columns", post="away APQUOMVSN, login DX"),
    *rows("jails-bulk", get="away APQUOMVSN, login DX", post="away APQUOMVSN, login DX"),
    *send("jails-bulk", answers="away APOM, 403 U, 404 QVSN, login DX", do="start", jails=["{www1}"]),
    *send("jails-bulk", answers="away AP, 403 U, 404 QOMVSN, login DX", do="stop", jails=["{www1}", "{loghost}"]),
    *send("jails-bulk", answers="away A, 403 U, 404 PQOMVSN, login DX", do="restart", jails=["{www1}", "{shop}"]),
    *send("jails-bulk", answers="away AQS, 403 U, 404 POMVN, login DX", do="start", jails=["{shop}"]),
    *rows("jail", "www1", get="200 APUOMV, 404 QSN, login DX"),
    *rows("jail", "loghost", get="200 APU, 404 QOMVSN, login DX"),
    *rows("jail", "shop", get="200 AQUS, 404 POMVN, login DX"),
    *rows("jail", "logdb", get="200 AQU, 404 POMVSN, login DX"),
    *rows("jail-use", "www1", get="200 APUOMV, 404 QSN, login DX", span="day"),
    *rows("jail-use", "shop", get="200 AQUS, 404 POMVN, login DX"),
    *rows(
        "jail-services",
        "www1",
        get="200 APUOMV, 404 QSN, login DX",
        post="away APOM, 403 U, 404 QVSN, login DX",
        service="sshd",
        do="restart",
    ),
    *send("jail-services", "shop", answers="away AQS, 403 U, 404 POMVN, login DX", service="sshd", do="stop"),
    *rows("jail-logs", "www1", get="200 APOM, 403 U, 404 QVSN, login DX"),
    *rows("jail-logs", "logdb", get="200 AQ, 403 U, 404 POMVSN, login DX"),
    *send("jail-logs", "www1", answers="200 APOM, 403 U, 404 QVSN, login DX", method=GET, path="/var/log/messages"),
    *rows("jail-processes", "www1", get="200 APUOMV, 404 QSN, login DX"),
    *rows("jail-processes", "logdb", get="200 AQU, 404 POMVSN, login DX"),
    *[
        row
        for name in ("jail-start", "jail-stop", "jail-restart")
        for row in (
            *rows(name, "www1", post="away APOM, 403 U, 404 QVSN, login DX"),
            *rows(name, "loghost", post="away AP, 403 U, 404 QOMVSN, login DX"),
            *rows(name, "shop", post="away AQS, 403 U, 404 POMVN, login DX"),
            *rows(name, "logdb", post="away AQ, 403 U, 404 POMVSN, login DX"),
        )
    ],
    *[
        row
        for name in ("jail-change", "jail-rename")
        for row in (
            *rows(
                name,
                "www1",
                get="200 AP, 403 U, 404 QOMVSN, login DX",
                post="422 AP, 403 U, 404 QOMVSN, login DX",
                hostname="no/hostname",
            ),
            *rows(
                name,
                "shop",
                get="200 AQ, 403 U, 404 POMVSN, login DX",
                post="422 AQ, 403 U, 404 POMVSN, login DX",
                hostname="no/hostname",
            ),
        )
    ],
    *rows(
        "jail-snapshots",
        "www1",
        get="200 APUOMV, 404 QSN, login DX",
        post="away APO, 403 U, 404 QMVSN, login DX",
        snapshots=["monday"],
    ),
    *send("jail-snapshots", "www1", answers="away APO, 403 U, 404 QMVSN, login DX", back="monday"),
    *send("jail-snapshots", "www1", answers="away APO, 403 U, 404 QMVSN, login DX", take="1", name="monday"),
    *send("jail-snapshots", "www1", answers="422 APO, 403 U, 404 QMVSN, login DX", take="1", name=""),
    *send("jail-snapshots", "www1", answers="away APO, 403 U, 404 QMVSN, login DX", keep="monday"),
    *send("jail-snapshots", "www1", answers="away APO, 403 U, 404 QMVSN, login DX", let_go="monday"),
    *rows(
        "jail-snapshots",
        "shop",
        get="200 AQUS, 404 POMVN, login DX",
        post="away AQS, 403 U, 404 POMVN, login DX",
        back="monday",
    ),
    *rows("jail-changes", "www1", get="200 APO, 403 U, 404 QMVSN, login DX"),
    *rows("jail-changes", "shop", get="200 AQS, 403 U, 404 POMVN, login DX"),
    *rows(
        "jail-snapshot-files",
        "www1",
        get="200 APO, 403 U, 404 QMVSN, login DX",
        post="away APO, 403 U, 404 QMVSN, login DX",
        snapshot="monday",
        path="/etc",
        beside="/etc/motd",
    ),
    *rows(
        "jail-snapshot-files",
        "shop",
        get="200 AQS, 403 U, 404 POMVN, login DX",
        post="away AQS, 403 U, 404 POMVN, login DX",
    ),
    *rows(
        "jail-sandbox",
        "www1",
        get="away APO, 403 U, 404 QMVSN, login DX",
        post="away APO, 403 U, 404 QMVSN, login DX",
        snapshot="monday",
        name="try1",
    ),
    *rows(
        "jail-sandbox",
        "shop",
        get="away AQS, 403 U, 404 POMVN, login DX",
        post="away AQS, 403 U, 404 POMVN, login DX",
        snapshot="monday",
        name="try1",
    ),
    *rows("sandbox-extend", "www1", post="away APO, 403 U, 404 QMVSN, login DX"),
    *send("sandbox-extend", "shop", answers="away AQS, 403 U, 404 POMVN, login DX"),
    *rows(
        "jail-destroy",
        "www1",
        get="200 APO, 403 U, 404 QMVSN, login DX",
        post="422 APO, 403 U, 404 QMVSN, login DX",
        name="no",
    ),
    *rows(
        "jail-destroy",
        "shop",
        get="200 AQS, 403 U, 404 POMVN, login DX",
        post="422 AQS, 403 U, 404 POMVN, login DX",
        name="no",
    ),
    *rows(
        "jail-give",
        "www1",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="away A, 403 PU, 404 QOMVSN, login DX",
        tenant="{globex}",
    ),
    *rows(
        "jail-give",
        "shop",
        get="200 A, 403 QU, 404 POMVSN, login DX",
        post="away A, 403 QU, 404 POMVSN, login DX",
        tenant="{acme}",
    ),
    *rows(
        "jail-drift",
        "www1",
        get="200 APU, 404 QOMVSN, login DX",
        post="away AP, 403 U, 404 QOMVSN, login DX",
        do="repair",
    ),
    *rows(
        "jail-make",
        get="200 O, 404 APQUMVSN, login DX",
        post="422 O, 404 APQUMVSN, login DX",
        label="",
    ),
    *send("jail-make", answers="404 APQUOMVSN, login DX", label="x", tenant="globex"),
    *rows(
        "jail-size",
        "www1",
        get="200 APOM, 403 U, 404 QVSN, login DX",
        post="422 APO, away M, 403 U, 404 QVSN, login DX",
        quota="x",
    ),
    *rows(
        "jail-size",
        "shop",
        get="200 AQS, 403 U, 404 POMVN, login DX",
        post="422 AQS, 403 U, 404 POMVN, login DX",
        memory="x",
    ),
    *rows(
        "jail-access",
        "www1",
        get="200 APUOMV, 404 QSN, login DX",
        post="422 O, 403 APU, 404 QMVSN, login DX",
        login="web",
    ),
    *rows("jail-access", "loghost", get="200 APU, 404 QOMVSN, login DX", post="422 AP, 403 U, 404 QOMVSN, login DX"),
    *rows("jail-access", "shop", get="200 AQUS, 404 POMVN, login DX", post="422 S, 403 AQU, 404 POMVN, login DX"),
    *send(
        "jail-access",
        "www1",
        answers="away APOM, 403 U, 404 QVSN, login DX",
        login="web",
        take="{the member}",
    ),
    *send("jail-access", "www1", answers="404 APQOMVSN, 403 U, login DX", login="root", take="{the member}"),
    *rows("jail-drift", "loghost", get="200 APU, 404 QOMVSN, login DX", post="away AP, 403 U, 404 QOMVSN, login DX"),
    *send("jail-drift", "shop", answers="away AQ, 403 U, 404 POMVSN, login DX", do="accept", all="1"),
    *rows(
        "jail-adopt",
        "loghost",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="422 A, 403 PU, 404 QOMVSN, login DX",
        how="somehow",
    ),
    *rows("jail-adopt", "shop", get="200 A, 403 QU, 404 POMVSN, login DX", post="422 A, 403 QU, 404 POMVSN, login DX"),
    *rows("jail-unadopt", "loghost", post="away A, 403 PU, 404 QOMVSN, login DX"),
    *rows("jail-unadopt", "www1", post="away A, 403 PU, 404 QOMVSN, login DX"),
    *rows(
        "host-adopt",
        "warden1",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="away A, 403 PU, 404 QOMVSN, login DX",
    ),
    *send("jails-bulk", answers="away A, 403 PU, 404 QOMVSN, login DX", do="adopt", jails=["{loghost}"]),
    # Agreements and approvals
    *rows(
        "jail-agreement",
        "www1",
        get="200 APUOMV, 404 QSN, login DX",
        post="away APO, 403 U, 404 QMVSN, login DX",
        restarts="tenant",
    ),
    *rows("jail-agreement", "loghost", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX", restarts="host"),
    *send(
        "jail-agreement",
        "shop",
        answers="away A, 403 QU, 404 POMVSN, login DX",
        do="set",
        restarts="host",
        reason="So.",
    ),
    *send("jail-agreement", "www1", answers="422 APO, 403 U, 404 QMVSN, login DX", restarts="nobody"),
    *rows(
        "tenant-agreement",
        "acme",
        get="200 AUOMV, 404 PQSN, login DX",
        post="422 AO, 403 U, 404 PQMVSN, login DX",
        restarts="nobody",
    ),
    *rows("tenant-agreement", "archived tenant", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX"),
    *rows(
        "agreement-decide", "proposed to acme", post="away O, 403 AU, 404 PQMVSN, login DX", do="yes", comment="Fine."
    ),
    *send("agreement-decide", "proposed by acme", answers="away AP, 403 U, 404 QOMVSN, login DX", do="no"),
    *rows("agreement-withdraw", "proposed by acme", post="away O, 403 APU, 404 QMVSN, login DX"),
    *send("agreement-withdraw", "proposed to acme", answers="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("agreement-read", "proposed to acme", post="away O, 403 AU, 404 PQMVSN, login DX"),
    *rows("operation-ask", "plan for www1", post="away APOM, 403 U, 404 QVSN, login DX", reason="So.", span="plan"),
    *send("operation-ask", "plan for shop", answers="422 AQS, 403 U, 404 POMVN, login DX", reason="", span="plan"),
    *rows("approvals", get="200 APQUOMVS, 404 N, login DX"),
    *rows("approval", "asked of acme", get="200 APUOMV, 404 QSN, login DX"),
    *rows("approval", "asked of the host", get="200 APUOMV, 404 QSN, login DX"),
    *rows("approval-decide", "asked of acme", post="away O, 403 APU, 404 QMVSN, login DX", do="yes"),
    *send("approval-decide", "asked of acme", answers="422 O, 403 APU, 404 QMVSN, login DX", do="maybe"),
    *send("approval-decide", "asked of the host", answers="away AP, 403 U, 404 QOMVSN, login DX", do="no"),
    *rows("approval-withdraw", "asked of the host", post="away APM, 403 U, 404 QOVSN, login DX"),
    # Break-glass
    *rows("break-glasses", get="200 AUOMVS, 403 PQ, 404 N, login DX"),
    *rows(
        "jail-break-glass",
        "www1",
        get="200 A, 403 PU, 404 QOMVSN, login DX",
        post="422 A, 403 PU, 404 QOMVSN, login DX",
        reason="too short",
        hours="1",
    ),
    *send(
        "jail-break-glass",
        "shop",
        answers="away A, 403 QU, 404 POMVSN, login DX",
        reason="Its mail queue fills the disk.",
        hours="8",
    ),
    *send("jail-break-glass", "loghost", answers="403 APU, 404 QOMVSN, login DX", method=GET),
    *rows("break-glass", "break-glass into www1", get="200 AUOMV, 404 PQSN, login DX"),
    *rows("break-glass", "break-glass into shop", get="200 AUS, 404 PQOMVN, login DX"),
    *rows("break-glass-end", "break-glass into www1", post="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("break-glass-end", "break-glass into shop", post="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("break-glass-acknowledge", "break-glass into www1", post="away O, 403 AU, 404 PQMVSN, login DX"),
    *rows("break-glass-acknowledge", "break-glass into shop", post="away S, 403 AU, 404 PQOMVN, login DX"),
    # Releases and templates
    *rows("releases", get=STAFF),
    *rows("release-fetch", get="200 APQ, 403 U, 404 OMVSN, login DX", post="422 APQ, 403 U, 404 OMVSN, login DX"),
    *send("release-fetch", answers="422 AQ, 403 U, 404 POMVSN, login DX", host="warden2"),
    *rows(
        "release-trust",
        "offered manifest",
        get="200 A, 403 U, 404 PQOMVSN, login DX",
        post="422 A, 403 U, 404 PQOMVSN, login DX",
    ),
    *rows("release", "release on warden1", get="200 APU, 404 QOMVSN, login DX"),
    *rows("release", "release on warden2", get="200 AQU, 404 POMVSN, login DX"),
    *rows("release-remove", "release on warden1", post="away AP, 403 U, 404 QOMVSN, login DX"),
    *rows("release-remove", "release on warden2", post="away AQ, 403 U, 404 POMVSN, login DX"),
    *rows("templates", get=STAFF),
    *rows("template-create", get="200 APQ, 403 U, 404 OMVSN, login DX", post="422 APQ, 403 U, 404 OMVSN, login DX"),
    *send("template-create", answers="422 AQ, 403 U, 404 POMVSN, login DX", jail="{shop}"),
    *rows("template", "template on warden1", get="200 APU, 404 QOMVSN, login DX"),
    *rows("template", "template of acme on warden1", get="200 APU, 404 QOMVSN, login DX"),
    *rows("template", "template on warden2", get="200 AQU, 404 POMVSN, login DX"),
    *rows("template-publish", "template on warden1", post="away A, 403 PU, 404 QOMVSN, login DX"),
    *rows("template-publish", "template on warden2", post="away A, 403 QU, 404 POMVSN, login DX"),
    *rows("template-remove", "template on warden1", post="away AP, 403 U, 404 QOMVSN, login DX"),
    *rows("template-remove", "template on warden2", post="away AQ, 403 U, 404 POMVSN, login DX"),
    # Networks
    *rows("networks", get=STAFF),
    *rows(
        "network-add", get="200 A, 403 PQU, 404 OMVSN, login DX", post="422 A, 403 PQU, 404 OMVSN, login DX", name=""
    ),
    *send("network-add", answers="away A, 403 PQU, 404 OMVSN, login DX", name="lab", cidr="203.0.113.0/24"),
    *rows("network-remove", "shared network", post="away A, 403 PQU, 404 OMVSN, login DX"),
    *rows("network-remove", "network of warden2", post="away A, 403 QU, 404 POMVSN, login DX"),
    # Operations
    *rows("operations", get=SIGNED_IN),
    *[
        row
        for name, get in (("operation", "200"), ("operation-progress", "204"))
        for row in (
            *rows(name, "plan for www1", get=f"{get} APUOMV, 404 QSN, login DX"),
            *rows(name, "plan for warden1", get=f"{get} APU, 404 QOMVSN, login DX"),
            *rows(name, "plan for shop", get=f"{get} AQUS, 404 POMVN, login DX"),
        )
    ],
    *rows("operation", "failed on www1", get="200 APUOMV, 404 QSN, login DX"),
    *rows("operation-confirm", "plan for www1", post="away APOM, 403 U, 404 QVSN, login DX", digest="{plan for www1}"),
    *send("operation-confirm", "plan for www1", answers="409 APUOMV, 404 QSN, login DX", digest="{plan for shop}"),
    *send(
        "operation-confirm", "plan for shop", answers="away AQS, 403 U, 404 POMVN, login DX", digest="{plan for shop}"
    ),
    *send(
        "operation-confirm",
        "plan for warden1",
        answers="away AP, 403 U, 404 QOMVSN, login DX",
        digest="{plan for warden1}",
    ),
    *[
        row
        for name, thing in (
            ("operation-discard", "plan for"),
            ("operation-cancel", "plan for"),
            ("operation-retry", "failed on"),
            ("operation-resume", "failed on"),
        )
        for row in (
            *rows(name, f"{thing} www1", post="away APOM, 403 U, 404 QVSN, login DX"),
            *rows(name, f"{thing} shop", post="away AQS, 403 U, 404 POMVN, login DX"),
            *rows(name, f"{thing} warden1", post="away AP, 403 U, 404 QOMVSN, login DX"),
        )
    ],
    # Tenants
    *rows("tenants", get="200 AU, 403 PQ, 404 OMVSN, login DX"),
    *rows("tenant-add", get="200 A, 403 PQU, 404 OMVSN, login DX", post="422 A, 403 PQU, 404 OMVSN, login DX"),
    *send("tenant-add", answers="away A, 403 PQU, 404 OMVSN, login DX", name="Initech", slug="initech"),
    *rows("tenant-usage", "acme", get="200 AUO, 404 PQMVSN, login DX"),
    *rows("tenant-usage", "globex", get="200 AUS, 404 PQOMVN, login DX"),
    *rows("tenant-usage", "archived tenant", get="200 AU, 404 PQOMVSN, login DX"),
    *send("tenant-usage", "acme", answers="200 AUO, 404 PQMVSN, login DX", method=GET, export="csv", month="2026-03"),
    *send("tenant-usage", "acme", answers="404 APQUOMVSN, login DX", method=GET, month="yesterday"),
    *rows("tenant", "acme", get="200 AUOMV, 404 PQSN, login DX"),
    *rows("tenant", "globex", get="200 AUS, 404 PQOMVN, login DX"),
    *rows("tenant", "archived tenant", get="200 AU, 404 PQOMVSN, login DX"),
    *rows(
        "tenant-invite",
        "acme",
        get="200 AO, 403 U, 404 PQMVSN, login DX",
        post="200 AO, 403 U, 404 PQMVSN, login DX",
        label="Bob",
        role="viewer",
    ),
    *rows(
        "tenant-invite",
        "globex",
        get="200 AS, 403 U, 404 PQOMVN, login DX",
        post="422 AS, 403 U, 404 PQOMVN, login DX",
        role="administrator",
    ),
    *rows(
        "tenant-invite", "archived tenant", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX", role="owner"
    ),
    *rows(
        "tenant-archive",
        "acme",
        get="200 A, 403 U, 404 PQOMVSN, login DX",
        post="away A, 403 U, 404 PQOMVSN, login DX",
        to="{globex}",
    ),
    *send("tenant-archive", "globex", answers="422 A, 403 U, 404 PQOMVSN, login DX", to="{archived tenant}"),
    *rows(
        "tenant-plan",
        "acme",
        get="200 A, 403 U, 404 PQOMVSN, login DX",
        post="away A, 403 U, 404 PQOMVSN, login DX",
        jails="5",
        any_host="on",
        any_network="on",
        any_template="on",
        any_release="on",
    ),
    *rows(
        "tenant-plan",
        "globex",
        get="200 A, 403 U, 404 PQOMVSN, login DX",
        post="422 A, 403 U, 404 PQOMVSN, login DX",
        jails="-1",
    ),
    *send("tenant-plan", "acme", answers="away A, 403 U, 404 PQOMVSN, login DX", remove="1"),
    *send("tenant-plan", "acme", answers="away A, 403 U, 404 PQOMVSN, login DX", there="1"),
    *send(
        "tenant-plan",
        "acme",
        answers="200 A, 403 U, 404 PQOMVSN, login DX",
        show="1",
        memory="8 GiB",
        any_host="on",
        any_network="on",
        any_template="on",
        any_release="on",
    ),
    *rows("tenant-plan", "archived tenant", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX", jails="5"),
    *rows(
        "tenant-member",
        "acme",
        "member of acme",
        get="200 AO, 403 U, 404 PQMVSN, login DX",
        post="away AO, 403 U, 404 PQMVSN, login DX",
        role="owner",
    ),
    *rows("tenant-keys", "acme", post="away AO, 403 U, 404 PQMVSN, login DX"),
    *rows("tenant-keys", "globex", post="away AS, 403 U, 404 PQOMVN, login DX"),
    *send("tenant-member", "acme", "member of acme", answers="away AOM, 403 U, 404 PQVSN, login DX", remove="1"),
    *send("tenant-member", "acme", "member of acme", answers="422 AO, 403 U, 404 PQMVSN, login DX", grant="these"),
    *send("tenant-member", "acme", "viewer of acme", answers="away AOV, 403 U, 404 PQMSN, login DX", remove="1"),
    *send("tenant-member", "acme", "owner of acme", answers="away A, 422 O, 403 U, 404 PQMVSN, login DX", remove="1"),
    *rows(
        "tenant-member",
        "globex",
        "owner of globex",
        get="200 AS, 403 U, 404 PQOMVN, login DX",
        post="away A, 422 S, 403 U, 404 PQOMVN, login DX",
        role="viewer",
    ),
    *rows(
        "tenant-member",
        "acme",
        "owner of globex",
        get="404 APQUOMVSN, login DX",
        post="404 APQUOMVSN, login DX",
        remove="1",
    ),
    *rows("invitation-withdraw", "acme", "link into acme", post="away AO, 403 U, 404 PQMVSN, login DX"),
    *rows("invitation-withdraw", "globex", "link into globex", post="away AS, 403 U, 404 PQOMVN, login DX"),
    *send("invitation-withdraw", "acme", "link into globex", answers="404 APQOMVSN, 403 U, login DX"),
    *send("invitation-withdraw", "acme", "link into the panel", answers="404 APQOMVSN, 403 U, login DX"),
    # People
    *rows("people", get="200 AU, 403 PQ, 404 OMVSN, login DX"),
    *rows(
        "person-invite",
        get="200 A, 403 PQU, 404 OMVSN, login DX",
        post="200 A, 403 PQU, 404 OMVSN, login DX",
        label="Bob",
        role="administrator",
    ),
    *rows("person", "the member", get="200 AU, 404 PQOMVSN, login DX"),
    *rows("person", "the administrator", get="200 AU, 404 PQOMVSN, login DX"),
    *rows(
        "person-change",
        "the member",
        get="200 A, 403 U, 404 PQOMVSN, login DX",
        post="away A, 403 U, 404 PQOMVSN, login DX",
        role="administrator",
    ),
    *send("person-change", "the administrator", answers="422 A, 403 U, 404 PQOMVSN, login DX", role=""),
    *rows("person-disable", "the member", post="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("person-enable", "the disabled", post="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("person-factors", "the member", post="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("person-sign-out", "the member", post="away A, 403 U, 404 PQOMVSN, login DX"),
    *rows("person-link", "the member", post="200 A, 403 U, 404 PQOMVSN, login DX"),
    *rows("person-invitation-withdraw", "link into the panel", post="away A, 403 PQU, 404 OMVSN, login DX"),
    *send("person-invitation-withdraw", "link into acme", answers="404 AOMVSN, 403 PQU, login DX"),
    # The log
    *rows("audit", get="200 AUOMVS, 403 PQ, 404 N, login DX"),
    *send("audit", answers="200 AUOMVS, 403 PQ, 404 N, login DX", method=GET, export="csv"),
    *send("audit", answers="200 AUOMVS, 403 PQ, 404 N, login DX", method=GET, export="jsonl"),
    *rows("audit-differences", get="away AUOMVS, 403 PQ, 404 N, login DX"),
    *send("audit-differences", answers="200 AUOMVS, 403 PQ, 404 N, login DX", method=GET, object="user:1"),
    *rows("audit-timeline", get="away AUOMVS, 403 PQ, 404 N, login DX"),
    *send("audit-timeline", answers="200 AUOMV, 403 PQ, 404 SN, login DX", method=GET, object="{timeline of www1}"),
    *send("audit-timeline", answers="200 AU, 403 PQ, 404 OMVSN, login DX", method=GET, object="{timeline of warden1}"),
    *send(
        "audit-timeline", answers="200 AUOMV, 403 PQ, 404 SN, login DX", method=GET, object="{timeline of the member}"
    ),
    *send("audit-timeline", answers="404 AUOMVSN, 403 PQ, login DX", method=GET, object="tenant:1"),
    *rows("audit-search-save", post="away AUOMVS, 403 PQ, 404 N, login DX", name="x", query="who=somebody"),
    *send(
        "audit-search-save",
        answers="away AU, 403 PQ, 404 OMVSN, login DX",
        name="y",
        query="who=somebody",
        shared="on",
    ),
    *rows("audit-search-remove", "search of the member", post="away M, 404 APQUOVSN, login DX"),
    *rows("audit-search-remove", "search of the stranger", post="away S, 404 APQUOMVN, login DX"),
    *rows("audit-search-remove", "search of the auditor", post="away U, 403 A, 404 PQOMVSN, login DX"),
    *rows("audit-entry", "entry of acme", get="200 AUOMV, 404 PQSN, login DX"),
    *rows("audit-entry", "entry of globex", get="200 AUS, 404 PQOMVN, login DX"),
    *rows("audit-entry", "entry of nobody", get="200 AU, 404 PQOMVSN, login DX"),
    *rows(
        "audit-review",
        get="200 AU, 403 PQ, 404 OMVSN, login DX",
        post="422 AU, 403 PQ, 404 OMVSN, login DX",
        reviews=["{review of nobody}"],
    ),
    *send(
        "audit-review",
        answers="away AU, 403 PQ, 404 OMVSN, login DX",
        reviews=["{review of nobody}", "{review of the member}"],
        comment="Seen.",
    ),
    *send(
        "audit-review",
        answers="away A, 403 UPQ, 404 OMVSN, login DX",
        reviews=["{review of the auditor}", "{review of nobody}"],
        comment="Seen.",
    ),
    *send(
        "audit-review",
        answers="away U, 403 APQ, 404 OMVSN, login DX",
        reviews=["{review of the administrator}"],
        comment="Seen.",
    ),
    # Oneself
    *rows("account", get=SIGNED_IN),
    *rows("account-keys", get=SIGNED_IN, post="422 APQUOMVSN, login DX", text="x"),
    *rows(
        "account-key-remove",
        "key of the member",
        get="200 M, 404 APQUOVSN, login DX",
        post="away M, 404 APQUOVSN, login DX",
    ),
    *rows("account-summary", post="away APQUOMVSN, login DX"),
    *send("account-summary", answers="away AUOS, 404 PQMVN, login DX", wants="1"),
    *rows("account-team", post="away APQUOMVSN, login DX", team=""),
    *send("account-team", answers="away AUOMV, 404 PQSN, login DX", team="acme"),
    *rows("jail-log-ticket", "www1", post="200 APOM, 403 U, 404 QVSN, login DX", path="/var/log/messages"),
    *rows("jail-log-ticket", "logdb", post="200 AQ, 403 U, 404 POMVSN, login DX", path="/var/log/messages"),
    # Consoles: to get a ticket is to be let in; who runs a command finds no consoled here, and is told so
    *rows("jail-console", "www1", get="200 O, 403 APU, 404 QMVSN, login DX"),
    *rows("jail-console", "loghost", get="200 AP, 403 U, 404 QOMVSN, login DX"),
    *rows("jail-console", "shop", get="200 S, 403 AQU, 404 POMVN, login DX"),
    *rows("jail-console-ticket", "www1", post="200 O, 403 APU, 404 QMVSN, login DX", login="root"),
    *rows("jail-console-ticket", "loghost", post="200 AP, 403 U, 404 QOMVSN, login DX", login="root"),
    *rows("jail-console-ticket", "logdb", post="200 AQ, 403 U, 404 POMVSN, login DX", login="root"),
    *rows("jail-console-prove", "www1", get="away O, 403 APU, 404 QMVSN, login DX"),
    *rows("jail-console-run", "www1", post="422 O, 403 APU, 404 QMVSN, login DX", login="root", text="id"),
    *rows("jail-console-run", "loghost", post="422 AP, 403 U, 404 QOMVSN, login DX", login="root", text="id"),
    *rows("consoles", get="200 AUOS, 403 PQ, 404 MVN, login DX"),
    *rows("recording", "console in www1", get="200 AU, 404 PQOMVSN, login DX"),
    *rows("recording", "console in loghost", get="200 AU, 404 PQOMVSN, login DX"),
    *rows("recording-file", "console in www1", get="503 AU, 404 PQOMVSN, login DX"),
    *rows("recording-text", "console in www1", get="200 AU, 404 PQOMVSN, login DX"),
    *rows("account-theme", post="away *", theme="dark"),
    *rows("account-sessions", post="away APQUOMVSN, login DX"),
    *rows("enter", "no link", get="410 *", post="410 *", username="eve"),
    *rows(
        "enter",
        "token into acme",
        get="200 *",
        post="away APQUSNDX, 422 OMV",
        username="eve",
    ),
    *rows("enter", "token into the panel", get="200 *", post="away DX, 422 APQUOMVSN", username="eve"),
    *rows("enter", "token of the member", get="200 *", post="away DX, 422 APQUOMVSN"),
    *rows("enter", "token of the disabled", get="410 *", post="410 *"),
    *rows("account_login", get="away APQUOMVSN, 200 DX", post="away APQUOMVSN, 200 DX", login="x", password="y"),
    *rows("account_logout", get=SIGNED_IN, post="login *"),
    *rows("account_inactive", get="200 *"),
    *rows("account_change_password", get="away APQUOMVSN, login DX", post="away APQUOMVSN, login DX"),
    *rows("account_set_password", get=SIGNED_IN, post=SIGNED_IN, password1="a", password2="b"),
    *rows("account_email", get=SIGNED_IN, post="away APQUOMVSN, login DX", email="x@example.org", action_add="1"),
    *rows("account_confirm_email", "no link", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX"),
    *rows("openid_connect_login", "no provider", post="404 *"),
    *rows("openid_connect_callback", "no provider", get="404 *"),
    *rows("socialaccount_login_cancelled", get="login *"),
    *rows("account-oidc-unlink", post="away APQUOMVSN, login DX"),
    # Second factors; nobody here has one, or a password to prove anything with
    *rows("mfa_index", get=SIGNED_IN),
    *rows("mfa_authenticate", get="away APQUOMVSN, login DX", post="away APQUOMVSN, login DX", code="000000"),
    *[
        row
        for name in ("account_reauthenticate", "mfa_reauthenticate", "mfa_reauthenticate_webauthn")
        for row in rows(name, get="away APQUOMVSN, login DX", post="away APQUOMVSN, login DX", password="x", code="0")
    ],
    *rows("mfa_activate_totp", get=SIGNED_IN, post=SIGNED_IN, code="no code"),
    *rows("mfa_deactivate_totp", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX"),
    *rows("mfa_view_recovery_codes", get="404 APQUOMVSN, login DX"),
    *rows("mfa_download_recovery_codes", get="404 APQUOMVSN, login DX"),
    *rows("mfa_generate_recovery_codes", get=SIGNED_IN, post=SIGNED_IN),
    *rows("mfa_list_webauthn", get="away APQUOMVSN, login DX"),
    *rows("mfa_add_webauthn", get="away APQUOMVSN, login DX", post="away APQUOMVSN, login DX"),
    *rows("mfa_login_webauthn", get="away APQUOMVSN, login DX", post="away APQUOMVSN, login DX", credential="1"),
    *rows("mfa_edit_webauthn", "no passkey", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX", name="x"),
    *rows("mfa_remove_webauthn", "no passkey", get="404 APQUOMVSN, login DX", post="404 APQUOMVSN, login DX"),
]


SOCKETS: dict[str, dict[str, str]] = {
    "/live/console": {"www1": "O", "loghost": "AP", "logdb": "AQ", "shop": "S"},
    "/live/log": {"www1": "APOM", "loghost": "AP", "logdb": "AQ", "shop": "AQS"},
}
"""Whom each websocket lets into which jail with a ticket of their own for it; everybody else is refused, who has no
session any more before it is opened. A ticket is no right: each of them is given one here."""
