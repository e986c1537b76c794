"""What the rows know of a host, for its report."""

from __future__ import annotations

import ipaddress
import re

from django.db.models import Q

from jails.hosts import surveying
from jails.hosts.facts import HostFacts, Missing, plain_address
from jails.hosts.survey import HostSurvey
from jails.models import Host, HostFactsRecord, Network
from jails.readiness import Look, Report, report

PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]


def report_of(host: Host, now: float) -> Report:
    """The report of a host, from its last refresh and its last survey. `now` in seconds since 1970."""
    record = HostFactsRecord.objects.filter(host=host).first()
    facts = HostFacts.from_data(record.data) if record is not None else None
    return report(look_at(host, facts, surveying.survey_of(host), now))


def look_at(host: Host, facts: HostFacts | None, survey: HostSurvey | None, now: float) -> Look:
    """With what the rows know beside facts and survey."""
    return Look(
        facts=facts,
        survey=survey,
        now=now,
        pool=host.pool,
        private=_private(host, facts),
        iocage=facts is not None and _has_iocage(facts),
    )


def _private(host: Host, facts: HostFacts | None) -> tuple[str, ...]:
    """Networks whose jails on this host only reach out through NAT: on a clone of the loopback, or of addresses that
    are routed nowhere and that the host has none of on a real interface."""
    used = Q(host=host) | Q(host__isnull=True, addresses__jail__host=host)
    networks = Network.objects.filter(used).distinct()
    return tuple(network.name for network in networks if _needs_nat(network, host, facts))


def _needs_nat(network: Network, host: Host, facts: HostFacts | None) -> bool:
    cidr = ipaddress.ip_network(network.cidr)
    if cidr.version == 6:
        return False
    if re.fullmatch(r"lo[1-9][0-9]*", network.interface or host.interface):
        return True
    if not any(cidr.subnet_of(one) for one in PRIVATE) or facts is None:  # type: ignore[arg-type]
        return False
    real = [one for one in facts.interfaces if "LOOPBACK" not in one.flags]
    addresses = [ipaddress.ip_address(plain_address(address.ip)) for one in real for address in one.addresses]
    taken = {plain_address(ip) for jail in facts.jails for ip in jail.addresses}
    return not any(ip in cidr for ip in addresses if ip.version == 4 and str(ip) not in taken)


def _has_iocage(facts: HostFacts) -> bool:
    try:
        if any(jail.manager == "iocage" for jail in facts.foreign):
            return True
        facts.require("zfs")
    except Missing:
        return False
    return any(dataset.name.count("/") == 1 and dataset.name.endswith("/iocage") for dataset in facts.datasets)
