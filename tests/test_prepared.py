"""Queries that are put together once give what queries give that are put together anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Model, QuerySet
from django.utils import timezone

from jails import policy
from jails.models import (
    Address,
    Agreement,
    Approval,
    AuditEntry,
    BreakGlass,
    Host,
    Jail,
    Membership,
    Operation,
    SavedSearch,
    Tenant,
    User,
)
from jails.prepared import Prepared
from tests.panel.fleet import WHEN, Fleet, add_jail, make_fleet

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet() -> Fleet:
    return make_fleet()


@Prepared
def found(tenants: list[int], host: int, before: Any) -> QuerySet[Any]:
    rows = Jail.objects.filter(tenant__in=tenants, host=host, state_since__lt=before).order_by("name")
    return rows.values_list("name", "uuid", "state_since", "limits", "managed")


def test_values_take_the_places_of_the_stand_ins(fleet: Fleet) -> None:
    now = timezone.now()
    theirs = add_jail(fleet, "shop1", tenant=fleet.other, limits={"quota": 1})
    mine = [fleet.jails[name] for name in ("www1", "www2")]
    shown = [(jail.name, jail.uuid, jail.state_since, jail.limits, jail.managed) for jail in (theirs, *mine)]
    Jail.objects.update(host=fleet.zfs)
    for _ in range(2):
        assert found([fleet.acme.pk], fleet.zfs.pk, now) == shown[1:]
        assert found([fleet.other.pk], fleet.zfs.pk, now) == shown[:1]
        assert found([fleet.acme.pk, fleet.other.pk], fleet.zfs.pk, now) == shown
        assert found([fleet.acme.pk], fleet.ufs.pk, now) == []
        assert found([fleet.acme.pk], fleet.zfs.pk, WHEN - timedelta(days=9999)) == []
    assert len(found._known) == 2


def test_of_nobody_there_is_nothing_to_ask(fleet: Fleet, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert found([], fleet.zfs.pk, timezone.now()) == []


def test_a_moment_of_the_clock_is_no_value() -> None:
    @Prepared
    def open_ones(tenants: list[int]) -> QuerySet[Any]:
        rows = BreakGlass.objects.filter(tenant__in=tenants, expires_at__gt=timezone.now())
        return rows.values_list("pk")

    with pytest.raises(TypeError, match="open_ones asks for something else each time"):
        open_ones([1])


def test_a_value_that_the_query_holds_in_another_form_is_noticed() -> None:
    @Prepared
    def given(tenants: list[int]) -> QuerySet[Any]:
        return Operation.objects.filter(parameters__tenant=tenants[0]).values_list("pk")

    with pytest.raises(TypeError, match="asks for something else"):
        given([1])


@pytest.mark.parametrize(
    "model", [Address, Agreement, Approval, AuditEntry, BreakGlass, Host, Jail, Membership, Operation, Tenant]
)
def test_a_stand_in_sees_what_a_member_sees(fleet: Fleet, model: type[Model]) -> None:
    for role in ("member", "viewer", "stranger"):
        person = User.objects.get(pk=fleet.people[role].pk)
        teams = [tenant.pk for tenant in policy.tenants_of(person)]
        seen = {row.pk for row in policy.visible(person, model)}
        assert {row.pk for row in policy.visible_to_teams(teams, model)} == seen
        assert seen or model not in (Jail, Membership, Tenant, Address) or role == "stranger"
    assert not policy.visible_to_teams([], model).exists()


def test_a_stand_in_has_its_role_and_no_other(fleet: Fleet) -> None:
    auditor, owner = fleet.people["auditor"], fleet.people["owner"]
    shared = SavedSearch.objects.create(user=fleet.people["administrator"], name="All", query="q=a", shared=True)
    own = [SavedSearch.objects.create(user=one, name="Mine", query="q=b") for one in (auditor, owner)]
    assert set(policy.visible(policy.stand_in(auditor.pk, User.Role.AUDITOR), SavedSearch)) == {shared, own[0]}
    assert set(policy.visible(policy.stand_in(owner.pk), SavedSearch)) == {own[1]}
