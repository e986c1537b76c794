"""Surveys in the database: when the next one is due, and the last one for whoever asks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from jails.hosts import connect
from jails.hosts.connection import CommandTimeout, Connection, HostUnavailable
from jails.hosts.facts import HostFacts, gather
from jails.hosts.survey import HostSurvey, gather_survey
from jails.models import Host, HostFactsRecord, HostSurveyRecord

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=10)
STALE = timedelta(minutes=30)
"""How old the last one may be for what rests on it alone to be removed."""


def survey(host: Host, *, connection: Callable[[Host], Connection] = connect.connection) -> None:
    """Look at a host and keep what was seen. One that does not answer keeps its last survey; its refresh says why."""
    begun = timezone.now()
    try:
        reached = connection(host)
        found = gather_survey(reached, _facts(host, reached))
    except (HostUnavailable, CommandTimeout) as error:
        log.info("%s could not be surveyed: %s", host, error)
        return
    values = {"data": found.to_data(), "gathered_at": begun}
    with transaction.atomic():
        current = Host.objects.select_for_update(no_key=True).filter(pk=host.pk).first()
        if current is None:
            return
        record, made = HostSurveyRecord.objects.get_or_create(host=current, defaults=values)
        # Of two at once the one that began later stays.
        if not made and record.gathered_at < begun:
            HostSurveyRecord.objects.filter(host=current).update(**values)


def _facts(host: Host, connection: Connection) -> HostFacts:
    record = HostFactsRecord.objects.filter(host=host).first()
    return HostFacts.from_data(record.data) if record is not None else gather(connection, jail_root=host.jail_root)


def is_due(host: Host) -> bool:
    """Whether the last one is too old, or there is none."""
    recent = HostSurveyRecord.objects.filter(host=host, gathered_at__gt=timezone.now() - EVERY)
    return not recent.exists()


def is_stale(host: Host) -> bool:
    """Whether there is a last one, and it is too old to remove anything by."""
    record = HostSurveyRecord.objects.filter(host=host).values_list("gathered_at", flat=True).first()
    return record is not None and record < timezone.now() - STALE


def is_done(host: Host) -> bool:
    """Whether one began after the host was last asked for anything: a message that came late has nothing to do."""
    wanted = host.refresh_wanted_at
    return wanted is not None and HostSurveyRecord.objects.filter(host=host, gathered_at__gte=wanted).exists()


def survey_of(host: Host) -> HostSurvey | None:
    """The last one, None before the first."""
    record = HostSurveyRecord.objects.filter(host=host).first()
    return HostSurvey.from_data(record.data) if record is not None else None
