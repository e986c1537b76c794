"""Give a person's keys to a login of a jail, or take them away: from inside, with the login's own rights.

What is wished for is the whole: after it, that login has exactly these keys of that person. So an operation can be done
twice, and taking all away needs no knowledge of what is there. Keys of others, and lines that people wrote, stay.

It works on a jail that runs and on one that does not. Which of the two it is, is asked when the step runs: so a key can
be taken out whatever has happened since the plan was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from jails import plans
from jails.freebsd import jail, logins
from jails.freebsd.publickey import PublicKey
from jails.keys import settle_finished
from jails.models import Host, Jail, JailKey, Operation, SshKey, User
from jails.operations import checks, common, in_the_way, layout, power, snapshots
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish

MOST = 20
"""Keys of one person for one login."""
SECONDS = 120
SKEW = 3600
OWN = "jail.keys_own"
REVOKE = "jail.revoke"


@dataclass(frozen=True)
class Place:
    """Where keys go. name: as jls(8) has it. path: "" where only the kernel knows it. alone: see logins.inside."""

    name: str
    path: str
    alone: str
    subject: str = ""

    @property
    def end(self) -> tuple[Undo, ...]:
        there = checks.is_not(checks.jail_absent(self.alone))
        return (Undo(Run((jail.remove_unconfigured(self.alone),)), only_if=(there,)),)


class KeysChange(Kind):
    name = "keys_change"
    action = "jail.keys"

    def jails(self, host: Host, parameters: Mapping[str, Any]) -> list[Jail]:
        return common.find_jails(host, parameters)

    def actions_of(self, user: User, host: Host, parameters: Mapping[str, Any], usual: str) -> tuple[str, ...]:
        """Nobody puts in another one's keys. Taking out is for managers, and for oneself whatever one has become.

        To keep a key that is to leave is to give it access.
        """
        (row,) = self.jails(host, parameters)
        person, wanted = find_person(parameters["person"]), set(parameters["keys"])
        is_own = person.pk == user.pk
        there = given(row, parameters["login"], person)
        leaving = {one.fingerprint for one in there if one.leaving_since is not None}
        if wanted < {one.fingerprint for one in there} and not wanted & leaving:
            return (OWN if is_own else REVOKE,)
        return (usual if is_own else "",)

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        (row,) = self.jails(host, parameters)
        person = find_person(parameters["person"])
        if not parameters["keys"]:
            return f"Take the keys of {person} out of {row.name}"
        return f"Give {person} access to {row.name} as {parameters['login']}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "jail": wish.uuid("jail"),
            "login": wish.text("login", logins.login_error),
            "person": wish.required_key("person"),
            "keys": fingerprints(wish),
            "sshd": wish.flag("sshd"),
        } | snapshots.clean_first(self.name, wish)
        wish.refuse_wrong()
        return cleaned

    def adds(self, host: Host, parameters: Mapping[str, Any]) -> plans.Growth | None:
        return plans.of_snapshot_first(self.jails(host, parameters)[0], parameters)

    def plan(self, request: Request) -> Plan:
        host, facts, wish = request.host, request.facts, request.parameters
        facts.require("jails", "files", "names")
        try:
            (row,) = self.jails(host, wish)
            person = find_person(wish["person"])
        except LookupError as error:
            raise Refused(f"{error}.") from error
        keys = find_keys(person, wish["keys"])
        found = power.look(row, facts)
        place = _place(request, found)
        there = given(row, wish["login"], person)
        gone = [one.body for one in there if one.fingerprint not in wish["keys"]]
        if not keys and not gone:
            raise Refused(f"{person} has no keys for {wish['login']} in {row.name}.")
        addresses = [one.ip for one in common.addresses_of(row)]
        # Taking out alone asks for less of a right (actions_of), and starts nothing.
        sshd = bool(keys and wish["sshd"]) and not set(wish["keys"]) < {one.fingerprint for one in there}
        starts = sshd and found.running is not None
        plan = Plan(
            title=self.title(wish, host),
            steps=tuple(steps(place, wish["login"], person, keys, gone, sshd=sshd)),
            summary=tuple(_summary(found, wish, person, keys, gone)),
            warnings=() if addresses or not keys else (f"{row.name} has no address: nobody can reach it by ssh.",),
            notes=in_the_way.notes(host, {found.running_name: addresses}, row.tenant_id) if starts else (),
            resources=(layout.jail_lock(host, row.name), layout.jail_lock(host, place.alone)),
            result=keys_to_result(keys),
        )
        return snapshots.with_first(request, self.name, row, plan, at_end=False) if keys else plan

    def finish(self, operation: Operation, plan: Plan) -> None:
        (row,) = self.jails(operation.host, operation.parameters)  # type: ignore[arg-type]
        wish = operation.parameters
        person = find_person(wish["person"])
        keep(row, wish["login"], person, keys_of_result(plan.result))
        if wish.get("snapshot_first"):
            snapshots.note_count(operation, row)
        settle_finished(row, person, source="worker")


kind = KeysChange()


# What other kinds of operation need as well


def fingerprints(wish: Wish, name: str = "keys") -> list[str]:
    """Of keys that are on a profile, each once; what is no such thing is wrong."""
    given_ = wish.value(name)
    if not isinstance(given_, (list, tuple)) or not all(isinstance(one, str) and len(one) <= 60 for one in given_):
        wish.wrong(name, "must be a list of fingerprints.")
        return []
    if len(given_) > MOST:
        wish.wrong(name, f"are too many: at most {MOST} for one login.")
    return sorted(set(given_))


def find_person(key: int) -> User:
    """Raises LookupError."""
    person = User.objects.filter(pk=key).first()
    if person is None:
        raise LookupError("there is no such person")
    return person


def find_keys(person: User, wanted: Sequence[str]) -> list[PublicKey]:
    """In the order given. Raises Refused for one that is not, or no longer, on the profile."""
    rows = {row.fingerprint: row.key for row in SshKey.objects.filter(user=person, fingerprint__in=wanted)}
    if missing := [one for one in wanted if one not in rows]:
        raise Refused({"keys": f"{', '.join(missing)} is not a key on the profile of {person}."})
    return [rows[one] for one in wanted]


def given(row: Jail, login: str, person: User) -> list[JailKey]:
    """What of a person's the panel has put there."""
    return list(JailKey.objects.filter(jail=row, login=login, user=person).order_by("pk"))


def keep(row: Jail, login: str, person: User, keys: Iterable[PublicKey]) -> None:
    """The rows as they are once a jail has exactly these: for `finish`."""
    wanted = {key.fingerprint: key for key in keys}
    JailKey.objects.filter(jail=row, login=login, user=person).exclude(fingerprint__in=wanted).delete()
    for fingerprint, key in wanted.items():
        JailKey.objects.update_or_create(
            jail=row,
            login=login,
            user=person,
            fingerprint=fingerprint,
            defaults={**_words(key), "leaving_since": None, "why_not": "", "removal": None},
            create_defaults={**_words(key), "added_at": timezone.now()},
        )


def _words(key: PublicKey) -> dict[str, str]:
    return {"name": key.comment, "type": key.type, "body": key.body}


def keys_to_result(keys: Iterable[PublicKey]) -> tuple[tuple[str, str], ...]:
    """For Plan.result, where `finish` finds them with `keys_of_result`."""
    return tuple((f"key {number}", key.line) for number, key in enumerate(keys))


def keys_of_result(result: Iterable[tuple[str, str]]) -> list[PublicKey]:
    found = []
    for name, line in result:
        if name.startswith("key "):
            kind_, body, *comment = line.split(" ", 2)
            found.append(PublicKey(kind_, body, *comment))
    return found


def steps(
    place: Place,
    login: str,
    person: User,
    keys: Sequence[PublicKey],
    gone: Sequence[str],
    *,
    sshd: bool,
    whose: str = "",
) -> Iterable[Step]:
    """Each can be done twice without harm, so none asks whether it is done: only the jail could tell, and may lie.

    The keys come last: once they are in, nothing fails any more that would leave them there without a row.
    """
    where = f"from inside: in {place.name} itself, or while it does not run in a jail of its own, without network"
    at = (place.name, place.alone, place.path)
    if keys:
        yield _step(
            place,
            "login",
            f"Have a login {login}, without a password, {where}",
            Run((logins.make(*at, login, f"Made by Cellblock for {person}"),)),
        )
    if sshd:
        yield _step(
            place, "sshd", f"Let sshd start in {place.name}, and start it if that runs", Run((logins.enable_sshd(*at),))
        )
    what = f"{len(keys)} key{'s' * (len(keys) != 1)}" if keys else "no key"
    what = f"{what} of {whose or person}"
    yield _step(
        place,
        "keys",
        f"Let {login} have {what}, and leave all other lines as they are, with the rights of {login} alone",
        Run((logins.change_keys(*at, login, person.pk),), stdin=logins.wishes(person.pk, keys, gone)),
    )


def put_since(row: Jail, creation: int) -> list[tuple[str, User]]:
    """(login, person) whose keys may be others in a snapshot of that second than the panel has them now.

    creation: by the host's clock, which may be another one: an hour more or less changes nothing here.
    """
    done = Operation.objects.filter(jails=row, kind__in=("keys_change", "jail_create"), started_at__isnull=False)
    last: dict[tuple[str, int], float] = {}
    for wish, started, finished in done.order_by("pk").values_list("parameters", "started_at", "finished_at"):
        access = wish if "login" in wish else wish.get("access")
        if access:
            pair, at = (access["login"], access["person"]), (finished or started).timestamp()  # type: ignore[union-attr]
            last[pair] = max(at, last.get(pair, at))
    leaving = JailKey.objects.filter(jail=row, leaving_since__isnull=False).values_list("login", "user_id")
    wanted = {pair for pair, at in last.items() if at > creation - SKEW} | set(leaving)
    people = User.objects.in_bulk({person for _, person in wanted})
    return [(login, people[person]) for login, person in sorted(wanted) if person in people]


def as_now(place: Place, row: Jail, pairs: Iterable[tuple[str, User]]) -> Iterable[Step]:
    """For a jail whose files are older ones now: its logins have of each person's keys what the panel says, no others.

    It must not run, so that nobody gets in by an older key.
    """
    for login, person in pairs:
        there = given(row, login, person)
        stay = [PublicKey(one.type, one.body, one.name) for one in there if one.leaving_since is None]
        gone = [one.body for one in there if one.leaving_since is not None]
        # Who had a key when the jail was another tenant's is not told to this one.
        whose = f"{person}" if stay else "somebody who is to have none"
        for step in steps(place, login, person, stay, gone, sshd=False, whose=whose):
            yield replace(step, key=f"{step.key}-{login}-{person.pk}")


def _step(place: Place, key: str, purpose: str, action: Run) -> Step:
    end = place.end
    return Step(key=key, purpose=purpose, action=action, undo=end, again=end, seconds=SECONDS, subject=place.subject)


# Of this kind alone


def _place(request: Request, found: power.Found) -> Place:
    """Raises Refused where nobody knows what runs under that name, or where its tree is."""
    row = found.row
    if row.state == Jail.State.PENDING:
        raise Refused(f"{row.name} is being made.")
    if not row.is_kept:
        raise Refused(f"{row.name} was not made by Cellblock: adopt it first.")
    if found.problem:
        raise Refused(f"{row.name}: {found.problem}")
    if not row.managed and found.running is None:
        raise Refused(f"{row.name} does not run, and its tree is not the panel's: start it first.")
    return Place(found.running_name, row.path if row.managed else "", f"keys-{request.operation_id}")


def _summary(
    found: power.Found, wish: Mapping[str, Any], person: User, keys: Sequence[PublicKey], gone: Sequence[str]
) -> Iterable[str]:
    login, name = wish["login"], found.name
    count = f"{len(gone)} key{'s' * (len(gone) != 1)}"
    for key in keys:
        yield f"{key.comment or key.type} ({key.fingerprint}) of {person} opens {login} in {name}."
    if gone:
        yield f"Taken out for {login} in {name}: {count} of {person}."


def access_wish(wish: Wish, name: str = "access") -> dict[str, Any] | None:
    """A login with keys for a jail that is being made: {"login", "person", "keys"}; None for none."""
    value = wish.value(name)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        wish.wrong(name, "must name login, person and keys.")
        return None
    inner = Wish(value)
    cleaned = {
        "login": inner.text("login", logins.login_error),
        "person": inner.required_key("person"),
        "keys": fingerprints(inner),
    }
    if not cleaned["keys"]:
        inner.wrong("keys", "are missing.")
    try:
        inner.refuse_wrong()
    except Refused as refused:
        for field, problem in refused.errors.items():
            wish.wrong(field, problem)
    return cleaned
