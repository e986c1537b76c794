"""The report of a host's readiness, as pages show it: made anew from what is known each time, never stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from jails.models import Host
from jails.operations.kind import Refused
from jails.readiness import Report, Status, report
from jails.readiness.rows import look_at
from panel.views.planning import facts_of, survey_of

WORDS = {Status.PASS: "fine", Status.UNKNOWN: "unknown", Status.WARN: "warning", Status.FAIL: "to fix"}
"""A status as the template tag `state` knows it."""


def report_for(host: Host) -> tuple[Report | None, datetime | None]:
    """The report and when the host was last checked; None for a host that has never answered or been checked."""
    survey, surveyed_at = survey_of(host)
    if host.refreshed_at is None:
        return None, surveyed_at
    try:
        facts = facts_of(host)
    except Refused:
        return None, surveyed_at
    return report(look_at(host, facts, survey, timezone.now().timestamp())), surveyed_at


def sentence_of(host: Host) -> dict[str, Any] | None:
    """`2 to fix, 3 warnings` with the worst status; None before there is anything to say."""
    found, surveyed_at = report_for(host)
    if found is None:
        return None
    if surveyed_at is None:
        return {"words": "not checked yet", "state": WORDS[Status.UNKNOWN]}
    worst = max((one.status for one in found.findings), key=lambda status: status.weight)
    return {"words": in_words(found), "state": WORDS[worst]}


def in_words(found: Report) -> str:
    fails, warns, unknown = (found.count(status) for status in (Status.FAIL, Status.WARN, Status.UNKNOWN))
    parts = [
        f"{fails} to fix" if fails else "",
        f"{warns} warning{'s' if warns != 1 else ''}" if warns else "",
        f"{unknown} unknown" if unknown else "",
    ]
    return ", ".join(filter(None, parts)) or "all fine"
