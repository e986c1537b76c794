"""Every address × method × role against the table in rights.py, and foreign ids wherever one can put them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from jails import audit, breakglass
from jails.models import (
    Agreement,
    Approval,
    AuditEntry,
    AuditReview,
    Console,
    Host,
    Invitation,
    Jail,
    JailKey,
    Membership,
    Network,
    Operation,
    SavedSearch,
    SshKey,
    Template,
    Tenant,
    TenantPlan,
    TrustedManifest,
    User,
)
from jails.operations import kind, lifecycle
from jails.operations.step import Plan, Run, Step
from tests.panel.fleet import Fleet, add_jail, make_fleet
from tests.panel.rights import GET, PEOPLE, ROWS, Row

pytestmark = pytest.mark.django_db
BACKEND = "django.contrib.auth.backends.ModelBackend"


real_kind = kind.get


class AnyKind(kind.Kind):
    """Stands for every kind: this table is about who may ask, the kinds' own tests about what comes of it."""

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def jails(self, host: Host, parameters: Any) -> list[Jail]:
        uuids = parameters.get("jails") or [parameters[key] for key in ("jail",) if key in parameters]
        found = list(Jail.objects.filter(host=host, uuid__in=uuids).select_related("tenant", "host"))
        if len(found) != len(uuids):
            raise LookupError("a jail")
        return found

    def actions_of(self, user: User, host: Host, parameters: Any, usual: str) -> tuple[str, ...]:
        return real_kind(self.name).actions_of(user, host, parameters, usual)

    def title(self, parameters: Any, host: Host) -> str:
        return self.name

    def clean(self, parameters: Any) -> dict[str, Any]:
        return dict(parameters)

    def plan(self, request: kind.Request) -> Plan:
        step = Step(key="one", purpose=f"Do {request.operation_id}", action=Run((("/usr/bin/true",),)))
        return Plan(title=self.name, steps=(step,), resources=())


@dataclass
class World:
    people: dict[str, User | None]
    things: dict[str, Any]
    """Name → the value in an address, or in what is sent."""
    sessions: dict[str, str]
    """Letter → the cookie of a session."""


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Made once, in a transaction around those of the tests."""
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), transaction.atomic():
        patch.setattr(kind, "get", any_kind)
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture
def world(made: World, db: None) -> World:
    cache.clear()
    return made


def any_kind(name: str) -> kind.Kind:
    if name not in kind.KINDS:
        raise LookupError(name)
    return AnyKind(name)


def make_world() -> World:
    fleet = make_fleet()
    shop = add_jail(fleet, "shop", host=fleet.ufs, storage="ufs", base=fleet.ufs_release, tenant=fleet.other)
    add_jail(fleet, "spare", tenant=fleet.acme, state="stopped")
    people = _people(fleet)
    admin = people["A"]
    assert admin is not None
    things: dict[str, Any] = {name: jail.uuid for name, jail in fleet.jails.items()}
    things |= {"warden1": "warden1", "warden2": "warden2", "no-host": "no-host"}
    things |= {"fix for operators": "ntpd", "fix for administrators": "racct"}
    things |= {"fix of sshd": "sshd", "no fix": "nosuch", "no passkey": 999_999, "no provider": "oidc"}
    things |= {"acme": "acme", "globex": "globex", "shop": shop.uuid}
    things |= _bases(fleet) | _operations(fleet, admin) | _tenancy(fleet, admin) | _entries(fleet) | _reviews(fleet)
    things |= _break_glasses(fleet) | _agreements(fleet)
    things |= {
        f"console in {name}": Console.objects.create(
            jail=fleet.jails[name], jail_name=name, username="somebody", login="root", tenant=fleet.jails[name].tenant
        ).pk
        for name in ("www1", "loghost")
    }
    things |= {
        "the member": fleet.people["member"].pk,
        "the administrator": admin.pk,
        "the disabled": fleet.people["disabled"].pk,
    }
    things |= {
        "timeline of www1": f"jail:{fleet.jails['www1'].pk}",
        "timeline of warden1": f"host:{fleet.zfs.pk}",
        "timeline of the member": f"user:{fleet.people['member'].pk}",
    }
    TenantPlan.objects.create(tenant=fleet.acme)
    for role, shared in (("member", False), ("stranger", False), ("auditor", True)):
        search = SavedSearch.objects.create(user=fleet.people[role], name="x", query="who=x", shared=shared)
        things[f"search of the {role}"] = search.pk
    key = SshKey.objects.create(user=fleet.people["member"], name="k", type="ssh-ed25519", body="A", fingerprint="F")
    things["key of the member"] = key.pk
    JailKey.objects.create(
        jail=fleet.jails["www1"], login="web", user=key.user, name="k", type=key.type, body="A", fingerprint="F"
    )
    return World(people, things, {letter: session_of(person) for letter, person in people.items() if person})


def session_of(person: User) -> str:
    client = Client()
    client.force_login(person, backend=BACKEND)
    return str(client.cookies[settings.SESSION_COOKIE_NAME].value)


def _people(fleet: Fleet) -> dict[str, User | None]:
    other = User.objects.create_user("other-operator", role="operator")
    other.operated_hosts.add(fleet.ufs)
    disabled = User.objects.create_user("disabled-person", role="administrator", is_active=False)
    Membership.objects.create(tenant=fleet.acme, user=disabled, role="owner")
    fleet.people["disabled"] = disabled
    named = {
        "A": "administrator",
        "P": "operator",
        "U": "auditor",
        "O": "owner",
        "M": "member",
        "V": "viewer",
        "S": "stranger",
        "D": "disabled",
    }
    people: dict[str, User | None] = {letter: fleet.people[role] for letter, role in named.items()}
    return people | {"Q": other, "N": User.objects.create_user("nobody-person"), "X": None}


def _bases(fleet: Fleet) -> dict[str, Any]:
    def template(name: str, **fields: Any) -> int:
        row = {
            "architecture": "amd64",
            "storage": "zfs",
            "path": f"/var/db/cellblock/templates/{name}",
            "state": "ready",
        }
        pk: int = Template.objects.create(name=name, **(row | fields)).pk
        return pk

    private = Network.objects.create(name="private", cidr="10.0.0.0/24", host=fleet.ufs)
    empty = Network.objects.create(name="empty", cidr="10.1.0.0/24")
    offer = TrustedManifest.objects.create(
        release="14.3-RELEASE", architecture="amd64", digest="a" * 64, source="/mirror", host_name="warden1"
    )
    return {
        "release on warden1": fleet.release.pk,
        "release on warden2": fleet.ufs_release.pk,
        "template on warden1": fleet.template.pk,
        "template of acme on warden1": template("blog", host=fleet.zfs, tenant=fleet.acme),
        "template on warden2": template("db", host=fleet.ufs, storage="ufs"),
        "network of warden2": private.pk,
        "shared network": empty.pk,
        "offered manifest": offer.pk,
    }


def _operations(fleet: Fleet, admin: User) -> dict[str, Any]:
    found = {}
    wishes: dict[str, tuple[str, dict[str, Any], Host]] = {
        "www1": ("jail_restart", {"jails": [str(fleet.jails["www1"].uuid)]}, fleet.zfs),
        "shop": ("jail_restart", {"jails": [str(fleet.jails["shop"].uuid)]}, fleet.ufs),
        "warden1": ("host_setup", {}, fleet.zfs),
    }
    for name, (kind_name, wish, host) in wishes.items():
        found[f"plan for {name}"] = lifecycle.draft(kind_name, wish, host=host, user=admin).pk
        failed = lifecycle.draft(kind_name, wish, host=host, user=admin)
        Operation.objects.filter(pk=failed.pk).update(
            status="failed", confirmed_at=timezone.now(), finished_at=timezone.now()
        )
        found[f"failed on {name}"] = failed.pk
    return found


def _tenancy(fleet: Fleet, admin: User) -> dict[str, Any]:
    gone = Tenant.objects.create(slug="gone", name="Gone", archived_at=timezone.now())
    Membership.objects.create(tenant=gone, user=fleet.people["viewer"], role="owner")
    things: dict[str, Any] = {"archived tenant": gone.slug, "no link": "x" * 43}
    for role in ("owner", "member", "viewer"):
        things[f"{role} of acme"] = Membership.objects.get(tenant=fleet.acme, user=fleet.people[role]).pk
    things["owner of globex"] = Membership.objects.get(tenant=fleet.other).pk
    links: dict[str, dict[str, Any]] = {
        "into acme": {"tenant": fleet.acme, "tenant_role": "viewer"},
        "into globex": {"tenant": fleet.other, "tenant_role": "viewer"},
        "into the panel": {"role": "administrator"},
        "of the member": {"user": fleet.people["member"]},
        "of the disabled": {"user": fleet.people["disabled"]},
    }
    for name, fields in links.items():
        invitation, token = Invitation.issue(label=name, created_by=admin, **fields)
        things |= {f"link {name}": invitation.pk, f"token {name}": token}
    return things


def _entries(fleet: Fleet) -> dict[str, Any]:
    with transaction.atomic():
        return {
            f"entry of {name}": audit.record(f"test.{name}", tenant=tenant).sequence
            for name, tenant in (("acme", fleet.acme), ("globex", fleet.other), ("nobody", None))
        }


def _reviews(fleet: Fleet) -> dict[str, Any]:
    """Of what each has done."""
    found: dict[str, Any] = {}
    for name in ("administrator", "auditor", "member", ""):
        actor = fleet.people.get(name)
        with transaction.atomic():
            entry = audit.record(f"test.{name}", actor=actor, outcome="refused")
        fields = {"sequence": entry.sequence, "at": entry.at, "actor": entry.actor, "actor_id": entry.actor_id}
        made = AuditReview.objects.create(rule="refused", **fields)
        found[f"review of the {name}" if name else "review of nobody"] = made.pk
    return found


def _break_glasses(fleet: Fleet) -> dict[str, Any]:
    """By an administrator of whom the table says nothing else."""
    other = User.objects.create_user("second-administrator", role="administrator")
    rows = {
        name: breakglass.enter(fleet.jails[name], f"Because of {name} and no other.", timedelta(hours=1), user=other)
        for name in ("www1", "shop")
    }
    User.objects.filter(pk=other.pk).update(is_active=False)
    return {f"break-glass into {name}": row.pk for name, row in rows.items()}


def _agreements(fleet: Fleet) -> dict[str, Any]:
    """One proposed by each side; one asked of each, by who is not in the table or is a member."""
    gone = User.objects.get(username="second-administrator")
    terms, member = {"restarts": "host"}, fleet.people["member"]
    common = {"tenant": fleet.acme, "terms": terms, "state": "proposed"}
    ours = {"jail": fleet.jails["www2"], "side": "tenant", "proposed_by": fleet.people["owner"]}
    question = {
        "tenant": fleet.acme, "jail": fleet.jails["www1"], "host": fleet.zfs, "subject": "www1", "work": "restarts",
        "reason": "The site is down.", "lasts": timedelta(hours=1), "expires_at": timezone.now() + timedelta(days=7),
    }  # fmt: skip
    return {
        "proposed by acme": Agreement.objects.create(**common, **ours).pk,
        "proposed to acme": Agreement.objects.create(**common, side="host", proposed_by=gone, unread=True).pk,
        "asked of acme": Approval.objects.create(**question, side="tenant", asked_by=gone).pk,
        "asked of the host": Approval.objects.create(**question, side="host", asked_by=member).pk,
    }


IN_DATA = {"acme": Tenant, "globex": Tenant, "archived tenant": Tenant}


def sent(row: Row, world: World) -> dict[str, Any]:
    return {key: filled(value, world) for key, value in row.data.items()}


def filled(value: Any, world: World) -> Any:
    if isinstance(value, list):
        return [filled(item, world) for item in value]
    if not value.startswith("{"):
        return value
    name = value.strip("{}")
    thing = world.things[name]
    if name in IN_DATA:
        return str(Tenant.objects.get(slug=thing).pk)
    if name.startswith("plan for"):
        return Operation.objects.get(pk=thing).digest
    return str(thing)


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """So that one person's request is not seen by the next one's."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def client_of(world: World, letter: str) -> Client:
    client = Client()
    if letter in world.sessions:
        client.cookies[settings.SESSION_COOKIE_NAME] = world.sessions[letter]
    return client


def ask(world: World, letter: str, method: str, path: str, data: dict[str, Any]) -> Any:
    client = client_of(world, letter)
    return client.get(path, data) if method == GET else client.post(path, data)


def answer(response: Any) -> str:
    if response.status_code != 302:
        return str(response.status_code)
    return "login" if response.headers["Location"].startswith(reverse("account_login")) else "away"


ASKED = PEOPLE if connection.vendor == "sqlite" else "AO"
"""Who may what is decided above the database; that another one answers each address too, these two can tell."""


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_everybody_gets_the_answer_of_the_table(row: Row, world: World) -> None:
    path = reverse(row.name, args=[world.things[name] for name in row.about])
    answers = {}
    for letter in ASKED:
        with undone():
            recorded = AuditEntry.objects.filter(outcome="refused").count()
            answers[letter] = answer(ask(world, letter, row.method, path, sent(row, world)))
            if answers[letter] == "403":
                assert AuditEntry.objects.filter(outcome="refused").count() > recorded, f"{letter}: not in the log"
    assert answers == {letter: row.expected[letter] for letter in ASKED}


def names_in(patterns: list[URLPattern | URLResolver]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            found |= names_in(pattern.url_patterns)
        else:
            assert pattern.name, f"{pattern} has no name, so that nobody can say who may use it"
            found.add(pattern.name)
    return found


def test_every_address_is_in_the_table() -> None:
    known = {(row.name, row.method) for row in ROWS}
    wanted = {(name, method) for name in names_in(get_resolver().url_patterns) for method in ("GET", "POST")}
    assert known == wanted


@pytest.mark.one_database
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_other_method_does_anything(method: str, world: World) -> None:
    for row in {(row.name, row.about): row for row in ROWS}.values():
        path = reverse(row.name, args=[world.things[name] for name in row.about])
        with undone():
            before = AuditEntry.objects.exclude(action="session.sign_in").count()
            response = client_of(world, "A").generic(method, path)
            allowed = (405, 200, 302) if method == "OPTIONS" else (405, 302, 404)
            assert response.status_code in allowed, row
            assert AuditEntry.objects.exclude(action="session.sign_in").count() == before, row


# What one may know of


WORDS_OF = {
    "acme": ["www1", "www2", "spare", "acme", "Acme", "owner-person", "member-person", "viewer-person"],
    "globex": ["shop", "globex", "Globex", "stranger-person"],
    "host": ["loghost", "logdb", "legacy", "operator-person", "auditor-person"],
}
MAY_NOT_READ = {
    "O": WORDS_OF["globex"] + WORDS_OF["host"],
    "M": WORDS_OF["globex"] + WORDS_OF["host"],
    "V": WORDS_OF["globex"] + WORDS_OF["host"],
    "S": WORDS_OF["acme"] + WORDS_OF["host"],
    "N": WORDS_OF["acme"] + WORDS_OF["globex"] + WORDS_OF["host"],
    "P": [*WORDS_OF["globex"], "warden2", "logdb", "private"],
    "Q": [*WORDS_OF["acme"], "warden1", "loghost", "legacy"],
    "X": WORDS_OF["acme"] + WORDS_OF["globex"] + WORDS_OF["host"],
}
"""Letter → words that stand on no page they can open. What one has sent oneself is left out of the page first."""


@pytest.mark.parametrize("letter", MAY_NOT_READ)
def test_no_page_tells_of_what_one_may_not_know(letter: str, world: World) -> None:
    for row in ROWS:
        if row.method != GET or row.name == "enter" or row.expected[letter] not in ("200", "404"):
            continue
        path = reverse(row.name, args=[world.things[name] for name in row.about])
        data = sent(row, world)
        with undone():
            text = text_of(ask(world, letter, GET, path, data))
        for own in (path, *data.values()):
            text = text.replace(own, "")
        assert not [word for word in MAY_NOT_READ[letter] if word in text], row


RANDOM = re.compile(
    r'(?<=csrfmiddlewaretoken" value=")\w{64}|(?<=X-CSRFToken": ")\w{64}|(?<=data:image/svg\+xml;base64,)[\w+/=]+'
)
"""Tokens of forms and drawn codes. In so many random letters, on so many pages, a short name stands now and then."""


def text_of(response: Any) -> str:
    """All of an answer but what is made at random."""
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return RANDOM.sub("", content.decode())


def test_what_is_random_is_no_word(world: World) -> None:
    token = "awww1" + "x" * 59
    page = f'<input name="csrfmiddlewaretoken" value="{token}"><img src="data:image/svg+xml;base64,PDshopw2w+/=">www2'
    left = '<input name="csrfmiddlewaretoken" value=""><img src="data:image/svg+xml;base64,">www2'
    assert text_of(HttpResponse(page)) == left and token in text_of(HttpResponse(token))
    response = client_of(world, "M").get(reverse("home"))
    tokens = re.findall(
        r"(?<=CSRFToken\": \")\w{64}|(?<=csrfmiddlewaretoken\" value=\")\w{64}", response.content.decode()
    )
    assert len(tokens) > 1 and not [token for token in tokens if token in text_of(response)]


FILTERS = {
    "jails": [
        "host=warden2",
        "host=warden1",
        "tenant=globex",
        "tenant=-",
        "q=shop",
        "q=loghost",
        "q=192.0.2",
        "kind=found",
    ],
    "operations": ["host=warden2", "host=warden1", "status=failed", "page=2"],
    "audit": ["tenant=globex", "who=stranger-person", "host=warden2", "q=globex", "before=999999", "after=0"],
    "search": [
        "q=shop",
        "q=loghost",
        "q=globex",
        "q=warden",
        "q=192.0.2",
        "q=198.51.100",
        "q=person",
        "q=14.2",
        "q=web",
    ],
    "jails-bulk": ["plan={plan for shop}", "plan={plan for warden1}"],
}


@pytest.mark.parametrize(("name", "query"), [(name, query) for name, queries in FILTERS.items() for query in queries])
@pytest.mark.parametrize("letter", ["M", "S", "N", "P", "Q"])
def test_no_filter_and_no_search_finds_what_one_may_not_know(letter: str, name: str, query: str, world: World) -> None:
    key, _, value = query.partition("=")
    if value.startswith("{"):
        value = str(world.things[value.strip("{}")])
    with undone():
        for extra in ({}, {"export": "csv"}):
            text = text_of(ask(world, letter, GET, reverse(name), {key: value} | extra)).replace(value, "")
            assert not [word for word in MAY_NOT_READ[letter] if word.replace(value, "") and word in text]


def test_counts_are_of_what_one_may_know(world: World) -> None:
    with undone():
        for letter, count in {"M": 3, "S": 1, "N": 0}.items():
            context = ask(world, letter, GET, reverse("home"), {}).context
            assert (len(context["jails"]), context["counts"]["all"]) == (count, count)
            assert len(ask(world, letter, GET, reverse("jails"), {}).context["jails"]) == count


# Foreign ids in what is sent


def planned(world: World, letter: str, name: str, /, *about: str, **data: Any) -> list[str]:
    """Names of the jails of all that was planned by a request."""
    with undone():
        before = set(Operation.objects.values_list("pk", flat=True))
        path = reverse(name, args=[world.things[it] for it in about])
        ask(world, letter, "POST", path, {key: filled(value, world) for key, value in data.items()})
        made = Operation.objects.exclude(pk__in=before)
        return sorted(made.values_list("jails__name", flat=True))


def test_all_that_match_are_all_one_may_know(world: World) -> None:
    assert planned(world, "M", "jails-bulk", do="stop", all="1") == ["spare", "www1", "www2"]
    assert planned(world, "S", "jails-bulk", do="stop", all="1", filter="") == ["shop"]
    assert planned(world, "M", "jails-bulk", do="stop", all="1", filter="tenant=globex") == []
    assert planned(world, "M", "jails-bulk", do="stop", all="1", filter="host=warden2") == []
    assert planned(world, "V", "jails-bulk", do="stop", all="1") == []


@pytest.mark.parametrize("jails", [["{shop}"], ["{www1}", "{shop}"], ["{loghost}"], ["{www1}", "{www1}", "{logdb}"]])
def test_one_foreign_jail_among_ones_own_stops_all(world: World, jails: list[str]) -> None:
    assert planned(world, "M", "jails-bulk", do="start", jails=jails) == []


def refused_at(world: World, letter: str, name: str, /, *about: str, **data: Any) -> list[str]:
    with undone():
        path = reverse(name, args=[world.things[it] for it in about])
        response = ask(world, letter, "POST", path, {key: filled(value, world) for key, value in data.items()})
        assert response.status_code == 422
        return sorted(response.context["form"].errors)


def test_an_operator_gives_no_jail_to_a_tenant_and_takes_nothing_from_another_host(world: World) -> None:
    wish = {"host": "warden1", "name": "new", "kind": "thick", "hostname": "new.example.org"}
    for tenant in ("{acme}", "{globex}"):
        assert "tenant" in refused_at(world, "P", "jail-create", **wish, tenant=tenant)
    for base in ("release on warden2", "template on warden2"):
        sort = base.split()[0]
        assert "base" in refused_at(world, "P", "jail-create", **wish, base=f"{sort}:{world.things[base]}")


def test_a_jail_goes_to_no_archived_tenant(world: World) -> None:
    assert refused_at(world, "A", "jail-give", "www1", tenant="{archived tenant}") == ["tenant"]
    assert refused_at(world, "A", "tenant-archive", "acme", to="{archived tenant}") == ["to"]


def test_an_owner_gives_themselves_no_role_of_the_panel(world: World) -> None:
    with undone():
        for name, about in (("tenant-invite", ["acme"]), ("tenant-member", ["acme", "owner of acme"])):
            path = reverse(name, args=[world.things[it] for it in about])
            ask(world, "O", "POST", path, {"label": "x", "role": "administrator"})
            data = {"label": "x", "role": "owner", "tenant_role": "owner", "user": "1", "operated_hosts": ["1"]}
            ask(world, "O", "POST", path, data)
        owner = User.objects.get(username="owner-person")
        assert (owner.role, owner.operated_hosts.count()) == ("", 0)
        assert set(Invitation.objects.filter(created_by=owner).values_list("role", "tenant__slug")) == {("", "acme")}
        assert not Invitation.objects.filter(created_by=owner, operated_hosts__isnull=False).exists()


# Ids that are none


INTEGERS = [0, 2**31, 2**63 - 1, 2**63, 10**30]


def test_a_number_that_is_no_id_is_not_found(world: World) -> None:
    patterns = [pattern for pattern in get_resolver().url_patterns if "<int:" in str(pattern.pattern)]
    assert len(patterns) > 10
    with undone():
        for pattern in patterns:
            for number in INTEGERS:
                path = "/" + str(pattern.pattern).replace("<slug:slug>", "acme")
                path = path.replace("<int:pk>", str(number)).replace("<int:sequence>", str(number))
                for method in ("GET", "POST"):
                    assert ask(world, "A", method, path, {}).status_code in (404, 405), path


@pytest.mark.parametrize(
    "text", ["a%00b", "%F0%9F%92%A9", "%ff", "..%2f..", "'%22%3Cscript%3E", "a" * 3000, "%0d%0aX:1"]
)
def test_a_text_that_is_no_name_is_not_found(world: World, text: str) -> None:
    with undone():
        for path in (f"/hosts/{text}/", f"/hosts/{text}/refresh", f"/hosts/{text}/forget", f"/enter/{text}/"):
            for method in ("GET", "POST"):
                assert ask(world, "A", method, path, {}).status_code in (404, 405, 410), path
