"""Who sees to what on a tenant's jails, and how that is agreed."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from jails import agreements, audit, policy, review
from jails.models import Agreement, AuditEntry, AuditReview, Jail, Side, User, Work
from jails.operations import kind
from tests.panel.fleet import Fleet, add_jail, make_fleet

pytestmark = pytest.mark.django_db
HOST, TENANT, EITHER = Side.HOST, Side.TENANT, Side.EITHER
State = Agreement.State


@pytest.fixture
def fleet() -> Fleet:
    return make_fleet()


@pytest.fixture
def admin(fleet: Fleet) -> User:
    return fleet.people["administrator"]


@pytest.fixture
def owner(fleet: Fleet) -> User:
    return fleet.people["owner"]


def agreed(fleet: Fleet, jail: str | None, **terms: Side) -> Agreement:
    return agreements.set_alone(
        fleet.acme,
        fleet.jails[jail] if jail else None,
        {Work(work): side for work, side in terms.items()},
        user=fleet.people["administrator"],
        reason="As it is in the contract.",
    )


def sides(jail: Jail) -> dict[str, str]:
    return {str(work): str(side) for work, side in agreements.terms_of([jail])[jail.pk].items()}


def test_every_kind_of_work_has_a_side_words_and_kinds_that_are_there() -> None:
    assert set(agreements.DEFAULT) == set(agreements.MEANS) == set(Work)
    assert agreements.KINDS.keys() <= set(kind.KINDS)
    assert agreements.KINDS.keys() <= policy.ACTIONS_OF_OPERATIONS.keys()


def test_the_jails_own_counts_before_the_tenants_and_that_before_the_panels(fleet: Fleet) -> None:
    www1, www2 = fleet.jails["www1"], fleet.jails["www2"]
    panel = {str(work): str(side) for work, side in agreements.DEFAULT.items()}
    assert sides(www1) == panel
    agreed(fleet, None, restarts=HOST, backups=TENANT)
    agreed(fleet, "www1", restarts=TENANT)
    assert sides(www1) == panel | {"restarts": "tenant", "backups": "tenant"}
    assert sides(www2) == panel | {"restarts": "host", "backups": "tenant"}
    origins = {line.work: line.origin for line in agreements.lines_of(www1)}
    assert origins == dict.fromkeys(Work, "panel") | {Work.RESTARTS: "jail", Work.BACKUPS: "tenant"}
    assert {line.work for line in agreements.lines_of(www1) if line.is_held} == {Work.RESTARTS, Work.BACKUPS}
    assert {line.work: line.side for line in agreements.lines_for_all(fleet.acme)}[Work.RESTARTS] == HOST


def test_a_jail_of_nobody_has_no_agreement_and_anothers_is_not_ours(fleet: Fleet) -> None:
    shop = add_jail(fleet, "shop", tenant=fleet.other)
    agreed(fleet, None, restarts=HOST)
    assert agreements.terms_of([fleet.jails["loghost"]]) == {}
    assert sides(shop)["restarts"] == "either"


def test_what_was_agreed_with_the_owner_before_does_not_count(fleet: Fleet) -> None:
    www1 = fleet.jails["www1"]
    agreed(fleet, "www1", restarts=HOST)
    www1.tenant = fleet.other
    www1.save()
    assert sides(www1)["restarts"] == "either"
    assert not policy.visible(fleet.people["owner"], Agreement).exists(), "nor is it shown under its new name"
    assert not policy.visible(fleet.people["stranger"], Agreement).exists()


def test_as_many_queries_for_many_jails_as_for_one(fleet: Fleet) -> None:
    agreed(fleet, None, restarts=HOST)
    jails = [add_jail(fleet, f"more{number}", tenant=fleet.acme) for number in range(20)]
    for jails_asked in (jails[:1], jails):
        with CaptureQueriesContext(connection) as queries:
            agreements.terms_of(jails_asked)
        assert len(queries) == 1


def test_terms_of_another_release_are_left_out(fleet: Fleet) -> None:
    row = agreed(fleet, "www1", restarts=HOST)
    Agreement.objects.filter(pk=row.pk).update(terms={"restarts": "nobody", "mowing": "host", "patches": "tenant"})
    assert sides(fleet.jails["www1"]) == sides(fleet.jails["www2"]) | {"patches": "tenant"}


# Proposed by one side, accepted by the other


@pytest.mark.parametrize(
    ("side", "by", "other"), [(TENANT, "owner", "administrator"), (HOST, "administrator", "owner")]
)
def test_one_side_proposes_and_the_other_accepts(side: Side, by: str, other: str, fleet: Fleet) -> None:
    www1 = fleet.jails["www1"]
    row = agreements.propose(
        fleet.acme, www1, {Work.RESTARTS: TENANT}, side=side, user=fleet.people[by], reason="So we agreed."
    )
    assert sides(www1)["restarts"] == "either", "not before it is accepted"
    may = [name for name, person in fleet.people.items() if policy.allowed(person, "agreement.decide", row)]
    assert may == (["owner"] if side == HOST else ["administrator", "operator"])
    agreements.accept(row, user=fleet.people[other], comment="Fine.")
    row.refresh_from_db()
    assert (row.state, row.decided_by, row.comment) == (State.IN_FORCE, fleet.people[other], "Fine.")
    assert sides(www1)["restarts"] == "tenant"
    first, second = AuditEntry.objects.order_by("sequence")
    assert (first.action, first.actor, first.object_name, first.tenant) == (
        "agreement.propose", fleet.people[by].username, "www1", "acme",
    )  # fmt: skip
    assert (second.action, second.before, second.after) == ("agreement.accept", {}, {"restarts": "tenant"})


def test_what_counted_before_is_replaced_and_kept(fleet: Fleet, owner: User, admin: User) -> None:
    first = agreed(fleet, "www1", restarts=HOST)
    row = agreements.propose(fleet.acme, fleet.jails["www1"], {Work.RESTARTS: TENANT}, side=TENANT, user=owner)
    agreements.accept(row, user=admin)
    first.refresh_from_db()
    assert (first.state, first.terms) == (State.REPLACED, {"restarts": "host"})
    entry = AuditEntry.objects.get(action="agreement.accept")
    assert (entry.before, entry.after) == ({"restarts": "host"}, {"restarts": "tenant"})


def test_a_proposal_is_turned_down_or_withdrawn_once(fleet: Fleet, owner: User, admin: User) -> None:
    www1 = fleet.jails["www1"]
    row = agreements.propose(fleet.acme, www1, {Work.RESTARTS: TENANT}, side=TENANT, user=owner)
    agreements.refuse(row, user=admin, comment="Not yet.")
    for act in (agreements.accept, agreements.refuse, agreements.withdraw):
        with pytest.raises(agreements.CannotAgree, match="not open any more"):
            act(row, user=admin)
    again = agreements.propose(fleet.acme, www1, {Work.RESTARTS: TENANT}, side=TENANT, user=owner)
    agreements.withdraw(again, user=owner)
    assert sides(www1)["restarts"] == "either"
    assert list(Agreement.objects.order_by("pk").values_list("state", flat=True)) == [State.REFUSED, State.WITHDRAWN]


def test_a_new_proposal_takes_the_place_of_ones_own_and_not_of_the_others(
    fleet: Fleet, owner: User, admin: User
) -> None:
    www1 = fleet.jails["www1"]
    first = agreements.propose(fleet.acme, www1, {Work.RESTARTS: TENANT}, side=TENANT, user=owner)
    agreements.propose(fleet.acme, www1, {Work.RESTARTS: HOST}, side=TENANT, user=owner)
    first.refresh_from_db()
    assert first.state == State.WITHDRAWN
    with pytest.raises(agreements.CannotAgree, match="other side has proposed"):
        agreements.propose(fleet.acme, www1, {Work.RESTARTS: EITHER}, side=HOST, user=admin)
    agreements.propose(fleet.acme, None, {Work.RESTARTS: EITHER}, side=HOST, user=admin)
    assert Agreement.objects.filter(state=State.PROPOSED).count() == 2


def test_what_is_so_already_is_not_proposed(fleet: Fleet, owner: User) -> None:
    agreed(fleet, "www1", restarts=HOST)
    with pytest.raises(agreements.CannotAgree, match="agreed already"):
        agreements.propose(fleet.acme, fleet.jails["www1"], {Work.RESTARTS: HOST}, side=TENANT, user=owner)
    with pytest.raises(agreements.CannotAgree, match="agreed already"):
        agreed(fleet, "www1", restarts=HOST)


def test_nothing_is_agreed_on_a_jail_that_went_to_another(fleet: Fleet, owner: User, admin: User) -> None:
    www1 = fleet.jails["www1"]
    row = agreements.propose(fleet.acme, www1, {Work.RESTARTS: TENANT}, side=TENANT, user=owner)
    Jail.objects.filter(pk=www1.pk).update(tenant=fleet.other)
    with pytest.raises(agreements.CannotAgree, match="another owner"):
        agreements.accept(row, user=admin)
    row.refresh_from_db()
    assert row.state == State.PROPOSED


# By an administrator alone


def test_an_administrator_sets_it_alone_and_the_tenant_is_told_and_others_review_it(fleet: Fleet, owner: User) -> None:
    proposal = agreements.propose(fleet.acme, fleet.jails["www1"], {Work.RESTARTS: TENANT}, side=TENANT, user=owner)
    row = agreed(fleet, "www1", restarts=HOST)
    proposal.refresh_from_db()
    assert (row.unread, proposal.state) == (True, State.REPLACED)
    entry = AuditEntry.objects.get(action="agreement.set")
    assert (entry.tenant, entry.detail, entry.after) == ("acme", "As it is in the contract.", {"restarts": "host"})
    review.catch_up()
    assert AuditReview.objects.filter(sequence=entry.sequence, rule="rights").exists()
    agreements.mark_read(row, user=owner)
    agreements.mark_read(row, user=owner)
    row.refresh_from_db()
    assert not row.unread
    assert AuditEntry.objects.filter(action="agreement.read", actor="owner-person").count() == 1


@pytest.mark.parametrize("state", [State.IN_FORCE, State.PROPOSED])
@pytest.mark.parametrize("jail", ["www1", None])
def test_the_database_keeps_one_of_each(state: str, jail: str | None, fleet: Fleet, admin: User) -> None:
    fields = {"tenant": fleet.acme, "jail": fleet.jails.get(jail or ""), "state": state}
    fields |= {"side": HOST, "proposed_by": admin}
    Agreement.objects.create(**fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        Agreement.objects.create(**fields)


def test_it_and_its_entry_are_one(fleet: Fleet, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(audit, "record_all", lambda entries: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            agreements.propose(fleet.acme, None, {Work.RESTARTS: HOST}, side=TENANT, user=owner)
    assert not Agreement.objects.exists()
