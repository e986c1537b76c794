"""The services of a running jail, as its own rc.d scripts tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jails.freebsd import rcservices
from jails.hosts.connection import CommandTimeout
from jails.hosts.data import encode
from jails.looks import kind as base
from jails.looks.kind import Place, Refused


class Kind(base.Kind):
    """{"services": each as rcservices.Service, "others": names that could be enabled, "partial": whether a script took
    so long that not all were asked}."""

    name = "services"
    needs_running = True
    seconds = 30
    fresh = timedelta(seconds=8)

    def look(self, place: Place, parameters: Mapping[str, Any]) -> dict[str, Any]:
        partial = False
        try:
            result = place.inside(rcservices.LIST)
        except CommandTimeout as error:
            result, partial = error.partial, True
        services, others = rcservices.parse(result.text)
        if not services and not others:
            raise Refused("It has no service(8), or none that tells what there is.")
        return {"services": encode(services), "others": list(others), "partial": partial or result.truncated}


kind = Kind()
