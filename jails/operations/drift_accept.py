"""Bring the panel to the host: what the files say of a jail becomes what the panel wants of it. No host is changed.

What the panel has a field for is set there (hostname, boot, limits, addresses of its networks); anything else goes into
Jail.wanted, with which the jail's file is written from then on.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jails import plans
from jails.freebsd import names, parameters, rctl
from jails.freebsd.parameters import Kind as Takes
from jails.freebsd.parameters import Setter
from jails.hosts import drift
from jails.hosts.drift import BOOT, FILE, ON, OWN, TREE, Difference, Values
from jails.hosts.facts import Missing, plain_address
from jails.models import Address, Host, Jail, Network, ObservedAddress, Operation
from jails.operations import checks, common, jailfile, layout, limits
from jails.operations.differing import DriftKind, Look, keep_way_back, lines, parameters_result, with_family
from jails.operations.kind import Refused, Request
from jails.operations.step import Plan, Run, Step

LIMITS: Mapping[str, tuple[str, int, int, int]] = {
    # parameter → name in Jail.limits, lowest, highest, default
    "children.max": ("children_max", 0, 1000, 0),
    "securelevel": ("securelevel", -1, 3, -1),
    "enforce_statfs": ("enforce_statfs", 0, 2, 2),
}
RULES: Mapping[str, str] = {f"{drift.RULE}{resource}": limit for limit, resource in rctl.RESOURCES.items()}
FAMILIES = ("ip4.addr", "ip6.addr")


class DriftAccept(DriftKind):
    name = "drift_accept"
    action = "jail.accept"
    told = "How it is on its host was accepted as how it should be."

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Accept how {self.jails(host, parameters)[0].name} is"

    def widens(self, host: Host, parameters: Mapping[str, Any]) -> list[str]:
        """By name alone: whoever may write the host's files must not have the panel want what only few may set."""
        if parameters["parameters"] is None:
            return ["whatever differs"]
        return [name for name in with_family(parameters["parameters"]) if name not in OWN and _is_wide(name)]

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        """What its file says by hand is asked of the tenant's plan as if it were wished here."""
        from jails.operations.lifecycle import facts_of

        (row,) = self.jails(host, parameters)
        if row.tenant_id is None:
            return None
        names_ = parameters["parameters"]
        try:
            look = self.look(Request("", parameters, host, facts_of(host)))
            update = _Update(look, [one for one in look.chosen(names_) if not why_not(look, one)])
        except (Refused, Missing):
            return None  # the plan says so
        return plans.of_accepted(row, update.limits, update.networks_gained, update.addresses_lost)

    def plan(self, request: Request) -> Plan:
        look = self.look(request)
        names_ = request.parameters["parameters"]
        chosen = look.chosen(names_)
        problems = {one.parameter: why for one in chosen if (why := why_not(look, one))}
        if problems and (names_ is not None or len(problems) == len(chosen)):
            raise Refused(" ".join(f"{name}: {why}" for name, why in problems.items()))
        accepted = [one for one in chosen if one.parameter not in problems]
        row, host = look.row, look.host
        update = _Update(look, accepted)
        left = [f"{name} stays as it is: {why}" for name, why in problems.items()]
        return Plan(
            title=f"Accept how {row.name} is",
            steps=tuple(_steps(look, accepted)),
            summary=(f"Nothing on {host.name} is changed.", *lines(_line(one) for one in accepted)),
            warnings=tuple(left),
            resources=(layout.jail_lock(host, row.name), *(layout.address_lock(ip) for ip in sorted(update.gained))),
            result=(parameters_result(accepted), ("update", json.dumps(update.data(), sort_keys=True))),
            remembers=tuple(_files(look)),
        )

    def reserve(self, operation: Operation) -> None:
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        update = json.loads(dict(operation.plan["result"])["update"])
        own = set(row.addresses.values_list("network_id", "ip"))
        for _, network, address in _given(update):
            if (network, address.ip) not in own:
                values = {"interface": address.interface, "prefix": address.prefix, "operation": operation}
                Address.objects.create(network_id=network, ip=address.ip, jail=row, **values)

    def finish(self, operation: Operation, plan: Plan) -> None:
        assert operation.host is not None
        (row,) = self.jails(operation.host, operation.parameters)
        update = json.loads(dict(plan.result)["update"])
        for name in ("hostname", "boot", "path"):
            if name in update:
                setattr(row, name, update[name])
        row.limits = {**row.limits, **update["limits"]}
        row.allotted = limits.allotted_beside(row, update["limits"])
        for name, values in update["wanted"].items():
            for old in [old for old in row.wanted if drift.spelled(old, ())[0] == name]:
                del row.wanted[old]
            if values != _USUAL:
                row.wanted[name] = values
        row.save(update_fields=["hostname", "boot", "path", "limits", "allotted", "wanted"])
        _keep_addresses(row, update)
        keep_way_back(row, dict(plan.remembers))
        super().finish(operation, plan)

    def release(self, operation: Operation) -> None:
        common.release_addresses(operation)


_USUAL = "usual"
"""In place of values: nothing is wanted beyond what the panel says by itself."""


def _is_wide(name: str) -> bool:
    if name.startswith(drift.RULE):
        return False
    parameter = parameters.find(name)
    # Of these some values widen a jail and others do not.
    return parameters.setter(name) >= Setter.ADMINISTRATOR or (parameter is not None and parameter.kind is Takes.CHOICE)


def why_not(look: Look, one: Difference) -> str:
    """Why the panel cannot want it: a sentence, or ""."""
    name, row = one.parameter, look.row
    if name in (FILE, TREE):
        gone = one.configured is None
        return "what is gone cannot be wanted; bring it back." if gone else "it has to be mended by hand first."
    if not one.in_file and look.comparison.configured(look.wanted) is None:
        return "no file on its host defines it; bring that back first."
    if not one.in_file:
        return "the file says what the panel wants, only what runs differs; change the file, or bring the host back."
    if name == BOOT:
        return ""
    if name == "path" and row.managed:
        return "its tree is the panel's own; rename the jail instead."
    if name == "host.hostname":
        values = one.configured or ()
        problem = names.hostname_error(values[0]) if len(values) == 1 else "is not one name."
        return f"the file's {drift.shown(one.configured)!r} {problem}" if problem else ""
    if one.configured is not None and parameters.find(name) is not None:
        problem = parameters.validate(name, drift.for_file(name, one.configured))
        return f"what the file says cannot be: {problem}" if problem else ""
    return ""


def _steps(look: Look, accepted: Sequence[Difference]) -> Iterable[Step]:
    """Nothing is changed, but the file must still say what is accepted when it is noted down."""
    if all(one.parameter in OWN for one in accepted):
        return
    for path, text in _files(look):
        yield Step(
            key=f"read-{look.row.name}",
            purpose=f"See that {path} still says so",
            action=Run((("sha256", "-q", path),)),
            done_when=(checks.file_has(path, text),),
            changes=False,
            seconds=30,
            subject=look.row.name,
        )


def _files(look: Look) -> Iterable[tuple[str, str]]:
    """Where it is defined, and the text."""
    standing = look.comparison.configured(look.wanted)
    text = look.facts.file(standing.file) if standing is not None else None
    if standing is not None and text is not None:
        yield standing.file, text


def _line(one: Difference) -> str:
    if one.parameter == BOOT:
        return "The panel wants it to start at boot." if one.configured == ON else "The panel wants no start at boot."
    text = drift.shown(one.configured) if one.configured else "none"
    return f"The panel wants {one.parameter}: {text if len(text) <= 80 else text[:79] + '…'}"


class _Update:
    """What becomes of the panel's row."""

    def __init__(self, look: Look, accepted: Sequence[Difference]) -> None:
        self.look, self.row = look, look.row
        self.values: dict[str, Any] = {}
        self.limits: dict[str, int | None] = {}
        self.wanted: dict[str, Any] = {}
        self.addresses: dict[str, list[tuple[int, str]]] = {}
        self.gained: set[str] = set()
        self.networks_gained: list[int] = []
        self.addresses_lost = 0
        for one in accepted:
            self._take(one.parameter, one.configured)

    def data(self) -> dict[str, Any]:
        return {**self.values, "limits": self.limits, "wanted": self.wanted, "addresses": self.addresses}

    def _take(self, name: str, values: Values) -> None:
        if name == BOOT:
            self.values["boot"] = values == ON
        elif name in RULES:
            self.limits[RULES[name]] = int(values[0]) if values else None
        elif name in FAMILIES:
            self._take_addresses(name, values or ())
        elif name in LIMITS and self._take_limit(name, values):
            self._want(name, values, field=True)
        elif name == "host.hostname":
            self.values["hostname"] = (values or ("",))[0]
            self._want(name, values, field=True)
        else:
            if name == "path" and values:
                self.values["path"] = values[-1][:1023]
            self._want(name, values)

    def _want(self, name: str, values: Values, *, field: bool = False) -> None:
        """`field`: the row has one for it, so that nothing more is wanted of a jail whose file the panel makes."""
        if self.row.managed:
            usual = field or drift.same(name, values, self.look.usual.get(name))
            self.wanted[name] = _USUAL if usual else None if values is None else list(values)
        else:
            self.wanted[name] = _USUAL if values is None else list(values)

    def _take_limit(self, name: str, values: Values) -> bool:
        limit, low, high, usual = LIMITS[name]
        text = values[0] if values else str(usual)
        number = int(text) if text.removeprefix("-").isdecimal() and len(text) < 10 else None
        if number is None or not low <= number <= high:
            return False
        self.limits[limit] = number
        return True

    def _take_addresses(self, name: str, values: Sequence[str]) -> None:
        """Those that a network of the panel holds, and nobody has, are the jail's; others are wanted as they are."""
        held: list[tuple[int, str]] = []
        more: list[str] = []
        for value in values:
            address = jailfile.Address.parse(value)
            network = self._network(address) if address is not None else None
            if address is None or network is None:
                more.append(value)
                continue
            held.append((network.pk, str(address)))
            if not self.row.addresses.filter(network=network, ip=address.ip, operation=None).exists():
                self.gained.add(address.ip)
                self.networks_gained.append(network.pk)
        self.addresses[name] = held
        own = self.row.addresses.filter(operation=None).values_list("network_id", "ip")
        kept = {(network, address.ip) for network, text in held if (address := jailfile.Address.parse(text))}
        self.addresses_lost += sum((":" in ip) == (name == "ip6.addr") and (key, ip) not in kept for key, ip in own)
        if self.row.managed:
            self.wanted[name] = more or _USUAL
        else:
            self.wanted[name] = list(values) or _USUAL

    def _network(self, address: jailfile.Address) -> Network | None:
        ip = ipaddress.ip_address(address.ip)
        own = self.row.addresses.filter(ip=address.ip, operation=None).select_related("network").first()
        if own is not None:
            return own.network
        host = self.look.host
        holding = [one for one in Network.objects.order_by("pk") if ip in ipaddress.ip_network(one.cidr)]
        holding = [one for one in holding if one.host_id in (None, host.pk)]
        holding.sort(key=lambda one: one.host_id is None)
        if not holding or self._is_taken(holding[0], address.ip):
            return None
        return holding[0]

    def _is_taken(self, network: Network, ip: str) -> bool:
        row, facts, host = self.row, self.look.facts, self.look.host
        if Address.objects.filter(network=network, ip=ip).exclude(jail=row).exists():
            return True
        others = [one for one in facts.configured if one.name != row.name]
        given = {plain_address(value) for one in others for value in one.addresses}
        given |= {plain_address(value) for one in facts.jails if one.name != row.name for value in one.addresses}
        live = facts.jail(row.name)
        if live is None or ip not in map(plain_address, live.addresses):
            given |= {plain_address(one.ip) for interface in facts.interfaces for one in interface.addresses}
        if ip in given:
            return True
        seen = ObservedAddress.objects.filter(ip=ip).exclude(host=host)
        return network.host_id is None and seen.exists()


def _given(update: Mapping[str, Any]) -> Iterable[tuple[str, int, jailfile.Address]]:
    for name, held in update["addresses"].items():
        for network, text in held:
            address = jailfile.Address.parse(text)
            assert address is not None
            yield name, network, address


def _keep_addresses(row: Jail, update: Mapping[str, Any]) -> None:
    """Of each family that was accepted these are the jail's, and no others."""
    kept = []
    for _, network, address in _given(update):
        values = {"interface": address.interface, "prefix": address.prefix, "operation": None}
        found, _ = Address.objects.update_or_create(jail=row, network_id=network, ip=address.ip, defaults=values)
        kept.append(found.pk)
    versions = [6 if name == "ip6.addr" else 4 for name in update["addresses"]]
    for one in row.addresses.exclude(pk__in=kept):
        if ipaddress.ip_address(one.ip).version in versions:
            one.delete()


kind = DriftAccept()
