"""The forms of jails: what they ask for, what they refuse and where, and the way back from a plan."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from django.utils import timezone

from jails.models import Address, Jail, Network, Operation
from jails.operations import jail_change
from panel.forms import addresses
from panel.forms.fields import format_size, parse_size
from panel.forms.jails import values_of
from panel.views import jail_forms
from panel.views.jails import form_url
from tests.panel.fleet import GiB, MiB, add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
CREATE = "/jails/create"
CHECK = "/jails/create/check"
LIMITS = ["quota", "children_max", "securelevel", "enforce_statfs"]


def url(jail, action):
    return reverse(f"jail-{action}", args=[jail.uuid])


def wanted(fleet, **changes):
    """All fields of a form for a new jail, as a browser sends them."""
    return {
        "host": "warden1",
        "name": "www3",
        "base": f"release:{fleet.release.pk}",
        "kind": "thin",
        "hostname": "shop.example.org",
        "network-0": fleet.office.pk,
        "ip-0": "192.0.2.50",
        "boot": "on",
        "start": "on",
        "tenant": fleet.acme.pk,
        "quota": "10 GiB",
        "children_max": "0",
        "securelevel": "-1",
        "enforce_statfs": "2",
    } | changes


def changed(jail, **changes):
    values = values_of(jail) | {"boot": "on" if jail.boot else ""}
    return {name: "" if value is None else value for name, value in values.items()} | changes


def errors(response):
    return dict(response.context["form"].errors)


class TestCreate:
    def test_it_ends_in_a_plan_of_what_was_asked(self, as_person, fleet, planned):
        response = as_person("administrator").post(CREATE, wanted(fleet))
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert (operation.kind, operation.host, operation.tenant) == ("jail_create", fleet.zfs, fleet.acme)
        assert operation.parameters == {
            "name": "www3",
            "kind": "thin",
            "storage": "zfs",
            "release": fleet.release.pk,
            "template": None,
            "hostname": "shop.example.org",
            "addresses": [{"network": fleet.office.pk, "ip": "192.0.2.50"}],
            "boot": True,
            "start": True,
            "tenant": fleet.acme.pk,
            "limits": {"quota": 10 * GiB, "children_max": 0, "securelevel": -1, "enforce_statfs": 2},
        }

    def test_from_a_template_without_anything_more(self, as_person, fleet, planned):
        least = {"host": "warden1", "name": "a", "base": f"template:{fleet.template.pk}", "kind": "thick"}
        as_person("administrator").post(CREATE, least)
        wish = Operation.objects.get().parameters
        assert (wish["release"], wish["template"], wish["kind"]) == (None, fleet.template.pk, "thick")
        assert (wish["addresses"], wish["boot"], wish["start"], wish["tenant"]) == ([], False, False, None)
        assert wish["limits"] == {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}

    def test_on_a_host_without_zfs(self, as_person, fleet, planned):
        wish = wanted(fleet, host="warden2", base=f"release:{fleet.ufs_release.pk}", **{"ip-0": "", "network-0": ""})
        client = as_person("administrator")
        assert errors(client.post(CREATE, wish)) == {
            "kind": ["14.2-RELEASE is on UFS, where nothing can be cloned: make a thick jail."]
        }
        client.post(CREATE, wish | {"kind": "thick"})
        operation = Operation.objects.get()
        assert (operation.parameters["storage"], operation.parameters["limits"]["quota"]) == ("ufs", None)
        assert operation.host == fleet.ufs

    def test_an_empty_hostname_is_the_name_under_the_hosts_domain(self, as_person, fleet, planned):
        as_person("administrator").post(CREATE, wanted(fleet, hostname="", name="a_b"))
        assert Operation.objects.get().parameters["hostname"] == "a-b.example.org"

    def test_an_empty_address_is_the_next_free_one(self, as_person, fleet, planned):
        wish = wanted(fleet, **{"ip-0": "", "network-1": fleet.office.pk, "ip-1": "192.0.2.3"})
        as_person("administrator").post(CREATE, wish | {"network-2": fleet.office.pk, "ip-2": ""})
        found = [address["ip"] for address in Operation.objects.get().parameters["addresses"]]
        assert found == ["192.0.2.4", "192.0.2.3", "192.0.2.5"]

    def test_the_page_starts_with_what_is_usual(self, as_person, fleet):
        response = as_person("administrator").get(CREATE)
        form, summary = response.context["form"], response.context["summary"]
        assert form["base"].value() == f"release:{fleet.release.pk}"
        assert form["network-0"].value() == str(fleet.office.pk), "the network the host is in"
        assert (form["kind"].value(), form["boot"].value(), form["start"].value()) == ("thin", True, True)
        assert summary["addresses"] == ["192.0.2.3"]
        assert "You see the whole plan" in response.text

    def test_the_link_of_a_template_chooses_it(self, as_person, fleet):
        form = as_person("operator").get(f"{CREATE}?host=warden1&base=template:{fleet.template.pk}").context["form"]
        assert form["base"].value() == f"template:{fleet.template.pk}"
        assert form["boot"].value() is True

    def test_a_host_without_a_release_says_how_to_get_one(self, as_person, fleet):
        Jail.objects.filter(host=fleet.ufs).delete()
        fleet.ufs_release.delete()
        text = as_person("administrator").get(f"{CREATE}?host=warden2").text
        assert "warden2 has no release yet" in text and "/releases/fetch?host=warden2" in text

    def test_without_any_host_it_says_what_to_do(self, as_person, fleet):
        Jail.objects.all().delete()
        for host in (fleet.zfs, fleet.ufs):
            host.delete()
        assert "No host yet" in as_person("administrator").get(CREATE).text

    @pytest.mark.parametrize("role", ["owner", "member", "viewer", "stranger"])
    def test_for_tenants_there_is_no_such_page(self, as_person, fleet, role):
        client = as_person(role)
        assert client.get(CREATE).status_code == 404
        assert client.post(CREATE, wanted(fleet)).status_code == 404
        assert client.post(CHECK, wanted(fleet)).status_code == 404

    def test_an_auditor_is_refused(self, as_person, fleet):
        client = as_person("auditor")
        assert client.get(CREATE).status_code == 403
        assert client.post(CREATE, wanted(fleet)).status_code == 403
        assert client.post(CHECK, wanted(fleet)).status_code == 403

    def test_an_operator_makes_jails_on_their_hosts_only(self, as_person, fleet, planned):
        client = as_person("operator")
        assert [value for value, _ in client.get(CREATE).context["form"].fields["host"].choices] == ["warden1"]
        for way in (client.get(f"{CREATE}?host=warden2"), client.post(CREATE, wanted(fleet, host="warden2"))):
            assert way.status_code == 404
        assert client.post(CHECK, wanted(fleet, host="warden2")).status_code == 404
        assert client.post(CREATE, wanted(fleet, tenant="")).status_code == 302

    def test_a_base_of_another_host_is_refused(self, as_person, fleet, planned):
        response = as_person("administrator").post(CREATE, wanted(fleet, base=f"release:{fleet.ufs_release.pk}"))
        assert response.status_code == 422 and set(errors(response)) == {"base"}

    def test_a_private_network_of_another_host_is_refused(self, as_person, fleet, planned):
        private = Network.objects.create(name="lo", cidr="10.0.0.0/24", host=fleet.ufs)
        response = as_person("administrator").post(
            CREATE, wanted(fleet, **{"network-0": private.pk, "ip-0": "10.0.0.5"})
        )
        assert set(errors(response)) == {"network-0"}

    def test_an_operator_hands_jails_to_no_tenant_they_do_not_know(self, as_person, fleet, planned):
        response = as_person("operator").post(CREATE, wanted(fleet))
        assert set(errors(response)) == {"tenant"}

    @pytest.mark.parametrize(
        ("changes", "field"), [({"children_max": "3"}, "children_max"), ({"enforce_statfs": "0"}, "enforce_statfs")]
    )
    def test_only_an_administrator_widens(self, as_person, fleet, planned, changes, field):
        response = as_person("operator").post(CREATE, wanted(fleet, tenant="", **changes))
        assert errors(response) == {field: ["Only an administrator may set this: it widens what the jail may do."]}
        assert as_person("administrator").post(CREATE, wanted(fleet, **changes)).status_code == 302

    def test_a_refused_plan_is_said_at_its_field_and_every_value_stays(self, as_person, fleet, planned):
        planned.refuses = {
            "name": "warden1 has a jail www3 already.",
            "release": "is newer than the host.",
            "storage": "the pool is full.",
            "addresses": "192.0.2.51 belongs to logdb on warden2.",
            "quota": "It needs more.",
            "": "And more.",
        }
        two = {"network-1": fleet.office.pk, "ip-1": "192.0.2.51"}
        response = as_person("administrator").post(CREATE, wanted(fleet, **two))
        assert response.status_code == 422
        assert errors(response) == {
            "name": ["warden1 has a jail www3 already."],
            "base": ["is newer than the host.", "the pool is full."],
            "ip-1": ["192.0.2.51 belongs to logdb on warden2."],
            "quota": ["It needs more."],
            "__all__": ["And more."],
        }
        form = response.context["form"]
        assert {name: str(form[name].value()) for name in ("name", "hostname", "ip-0", "ip-1", "quota", "tenant")} == {
            "name": "www3",
            "hostname": "shop.example.org",
            "ip-0": "192.0.2.50",
            "ip-1": "192.0.2.51",
            "quota": "10 GiB",
            "tenant": str(fleet.acme.pk),
        }
        assert 'value="shop.example.org"' in response.text and not Operation.objects.exists()

    def test_another_address_is_one_more_row_and_keeps_what_was_typed(self, as_person, fleet):
        response = as_person("administrator").post(CREATE, wanted(fleet, more="1", name="half done", boot=""))
        form = response.context["form"]
        assert response.status_code == 200 and not form.is_bound and not form.errors
        assert [row.ip.value() for row in form.rows] == ["192.0.2.50", None]
        assert (form["name"].value(), form["boot"].value(), form["start"].value()) == ("half done", False, True)

    def test_rows_have_an_end(self, as_person, fleet):
        many = {f"network-{number}": fleet.office.pk for number in range(200)}
        response = as_person("administrator").post(CREATE, wanted(fleet, more="1", **many))
        assert len(response.context["form"].rows) == addresses.MOST

    def test_another_host_shows_what_that_one_has(self, as_person, fleet):
        response = as_person("administrator").post(CREATE, wanted(fleet, host="warden2", show="1"))
        form = response.context["form"]
        assert [value for _, group in form.fields["base"].choices for value, _ in group] == [
            f"release:{fleet.ufs_release.pk}"
        ]
        assert form["name"].value() == "www3" and "quota" not in form.fields

    def test_two_addresses_that_are_one_are_refused(self, as_person, fleet, planned):
        v6 = Network.objects.create(name="six", cidr="2001:db8::/64")
        rows = {"network-0": v6.pk, "ip-0": "2001:db8::5", "network-1": v6.pk, "ip-1": "2001:0DB8:0::5"}
        response = as_person("administrator").post(CREATE, wanted(fleet, **rows))
        assert errors(response) == {"ip-1": ["2001:db8::5 stands here twice."]}

    def test_an_address_without_its_network_is_refused(self, as_person, fleet, planned):
        response = as_person("administrator").post(CREATE, wanted(fleet, **{"network-0": ""}))
        assert errors(response) == {"network-0": ["Choose the network that the address is in."]}

    def test_a_full_network_says_so(self, as_person, fleet, planned):
        tiny = Network.objects.create(name="tiny", cidr="10.9.9.9/32")
        Address.objects.create(network=tiny, ip="10.9.9.9", jail=fleet.jails["www1"])
        response = as_person("administrator").post(CREATE, wanted(fleet, **{"network-0": tiny.pk, "ip-0": ""}))
        assert errors(response) == {"ip-0": ["tiny has no free address that could be found: type one."]}


class TestCheck:
    def test_what_is_right_shows_what_the_jail_would_be(self, as_person, fleet, planned):
        response = as_person("administrator").post(CHECK, wanted(fleet))
        assert "Can be made now, in one step." in response.text
        for part in ("zroot/cellblock/acme/www3", "/jail/www3", "/etc/jail.conf.d/www3.conf", "192.0.2.50", "412 MiB"):
            assert part in response.text, part
        assert not Operation.objects.exists()

    def test_it_speaks_of_fields_one_by_one(self, as_person, fleet, planned):
        planned.refuses = {"name": "warden1 has a jail www1 already."}
        response = as_person("administrator").post(CHECK, wanted(fleet, name="www1"))
        note = response.text.partition('id="id_name_notes"')[2].partition("</div>\n")[0]
        assert "warden1 has a jail www1 already." in note
        assert 'id="id_name_notes" hx-swap-oob="true"' in response.text

    def test_a_name_and_an_address_are_checked_while_the_rest_is_missing(self, as_person, fleet):
        half = {"host": "warden1", "name": "www1", "network-0": fleet.office.pk, "ip-0": "192.0.2.12"}
        found = errors(as_person("administrator").post(CHECK, half))
        assert found["name"] == ["warden1 has a jail www1 already."]
        assert found["ip-0"] == ["192.0.2.12 belongs to www2 on warden1."]

    def test_what_is_empty_is_not_complained_about(self, as_person, fleet):
        found = errors(as_person("administrator").post(CHECK, {"host": "warden1", "name": "", "network-0": ""}))
        assert found == {}

    def test_bad_text_is_named_as_it_is_typed(self, as_person, fleet):
        found = errors(as_person("administrator").post(CHECK, wanted(fleet, name="has.dot", hostname="-a")))
        assert set(found) >= {"name", "hostname"} and "“.”" in found["name"][0]

    def test_a_suggestion_follows_the_network(self, as_person, fleet):
        response = as_person("administrator").post(CHECK, wanted(fleet, **{"network-0": fleet.branch.pk, "ip-0": ""}))
        assert "Empty: the next free one, 198.51.100.3." in response.text
        assert 'id="id_ip-0_notes" hx-swap-oob="true"' in response.text

    def test_only_notes_that_the_page_has_are_sent(self, as_person, fleet):
        import re

        client = as_person("administrator")
        page, part = client.get(CREATE).text, client.post(CHECK, wanted(fleet)).text
        assert set(re.findall(r'id="([^"]*_notes)"', part)) <= set(re.findall(r'id="([^"]*_notes)"', page))


FIELDS_OF_CREATE = [*LIMITS, "host", "name", "base", "kind", "hostname", "network-0", "ip-0", "tenant"]


class TestHostileValues:
    @pytest.mark.parametrize("what", HOSTILE)
    @pytest.mark.parametrize("field", FIELDS_OF_CREATE)
    def test_of_a_new_jail(self, as_person, fleet, planned, field, what):
        client = as_person("administrator")
        response = client.post(CREATE, wanted(fleet, **{field: HOSTILE[what]}))
        if field == "host":
            assert response.status_code == 404
        else:
            assert response.status_code == 422 and field in errors(response)
            assert client.post(CHECK, wanted(fleet, **{field: HOSTILE[what]})).status_code == 200
        assert not Operation.objects.exists() and not planned.seen

    @pytest.mark.parametrize("what", HOSTILE)
    @pytest.mark.parametrize("field", [*LIMITS, "hostname", "network-0", "ip-0"])
    def test_of_a_change(self, as_person, fleet, planned, field, what):
        jail = fleet.jails["www1"]
        response = as_person("administrator").post(url(jail, "change"), changed(jail, **{field: HOSTILE[what]}))
        assert response.status_code == 422 and field in errors(response)
        assert not Operation.objects.exists() and not planned.seen

    @pytest.mark.parametrize("what", HOSTILE)
    @pytest.mark.parametrize(("action", "field"), [("rename", "name"), ("destroy", "name"), ("give", "tenant")])
    def test_of_the_others(self, as_person, fleet, planned, action, field, what):
        response = as_person("administrator").post(url(fleet.jails["www1"], action), {field: HOSTILE[what]})
        assert response.status_code == 422 and field in errors(response)
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("what", HOSTILE)
    @pytest.mark.parametrize("path", [CREATE, "/jails/create?host=warden1"])
    def test_in_the_address_of_a_form(self, as_person, fleet, path, what):
        query = dict.fromkeys(
            ["name", "base", "kind", "hostname", "network-0", "ip-0", "quota", "tenant"], HOSTILE[what]
        )
        response = as_person("administrator").get(path, query)
        assert response.status_code == 200 and "<script>alert" not in response.text


class TestChange:
    def test_it_shows_what_is_and_what_each_value_takes(self, as_person, fleet):
        response = as_person("administrator").get(url(fleet.jails["www1"], "change"))
        form = response.context["form"]
        shown = {name: form[name].value() for name in ("hostname", "ip-0", "boot", "quota")}
        assert shown == {"hostname": "www1.example.org", "ip-0": "192.0.2.11", "boot": True, "quota": "10 GiB"}
        assert 'value="10 GiB"' in response.text
        assert "Holds at once, by jail -m." in response.text and "Needs a restart" in response.text

    def test_it_asks_for_all_values_as_they_shall_be(self, as_person, fleet, planned):
        jail = fleet.jails["www1"]
        values = changed(jail, hostname="new.example.org", boot="", quota="", children_max="2")
        response = as_person("administrator").post(url(jail, "change"), values)
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert operation.parameters == {
            "jail": str(jail.uuid),
            "hostname": "new.example.org",
            "addresses": [{"network": fleet.office.pk, "ip": "192.0.2.11"}],
            "boot": False,
            "limits": {"quota": None, "children_max": 2, "securelevel": -1, "enforce_statfs": 2},
        }

    @pytest.mark.parametrize("state", ["running", "stopped"])
    def test_what_it_says_is_what_the_plan_does(self, fleet, monkeypatch, state):
        from types import SimpleNamespace

        jail = fleet.jails["www1"]
        Jail.objects.filter(pk=jail.pk).update(state=state)
        jail.refresh_from_db()
        running = object() if state == "running" else None
        monkeypatch.setattr(jail_change.power, "look", lambda row, facts: SimpleNamespace(running=running))
        wish = {
            "hostname": "x",
            "addresses": [],
            "boot": False,
            "limits": {"quota": 1, "children_max": 1, "securelevel": 1, "enforce_statfs": 1},
        }
        effects = {effect.field: effect.how for effect in jail_change.effects_of(jail, wish, None)}
        names = {field: names[0] for field, names in jail_change.PARAMETERS.items()}
        assert set(effects) == {"hostname", "addresses", "boot", *LIMITS}
        for field, how in effects.items():
            said = jail_forms.takes(jail, names.get(field, field))
            assert said["restart"] is (how == jail_change.RESTART), field
            assert ("at once" in said["words"]) is (how == jail_change.LIVE), field

    def test_another_address_row(self, as_person, fleet):
        jail = fleet.jails["www1"]
        response = as_person("administrator").post(url(jail, "change"), changed(jail, more="1", hostname="x.y"))
        form = response.context["form"]
        assert [row.ip.value() for row in form.rows] == ["192.0.2.11", None]
        assert form["hostname"].value() == "x.y" and response.status_code == 200

    def test_an_operator_keeps_what_an_administrator_allowed_but_adds_nothing(self, as_person, fleet, planned):
        jail = fleet.jails["www1"]
        Jail.objects.filter(pk=jail.pk).update(limits={"quota": None, "children_max": 4, "enforce_statfs": 1})
        jail.refresh_from_db()
        client = as_person("operator")
        assert client.post(url(jail, "change"), changed(jail, hostname="a.b")).status_code == 302
        assert client.post(url(jail, "change"), changed(jail, children_max="3")).status_code == 302
        for field, value in (("children_max", "5"), ("enforce_statfs", "0")):
            assert set(errors(client.post(url(jail, "change"), changed(jail, **{field: value})))) == {field}

    def test_on_ufs_there_is_no_quota(self, as_person, fleet):
        assert "quota" not in as_person("administrator").get(url(fleet.jails["logdb"], "change")).context["form"].fields


class TestOthers:
    def test_rename(self, as_person, fleet, planned):
        client, jail = as_person("operator"), fleet.jails["www1"]
        assert errors(client.post(url(jail, "rename"), {"name": "www1"})) == {"name": ["is the name it has already."]}
        assert errors(client.post(url(jail, "rename"), {})) == {"name": ["This field is required."]}
        client.post(url(jail, "rename"), {"name": "shop"})
        operation = Operation.objects.get()
        assert (operation.kind, operation.parameters) == ("jail_rename", {"jail": str(jail.uuid), "name": "shop"})

    def test_rename_says_at_the_field_what_is_refused(self, as_person, fleet, planned):
        planned.refuses = {"name": "warden1 has a jail www2 already."}
        response = as_person("operator").post(url(fleet.jails["www1"], "rename"), {"name": "www2"})
        assert response.status_code == 422 and errors(response) == {"name": ["warden1 has a jail www2 already."]}

    def test_destroy_names_what_goes_and_wants_the_name(self, as_person, fleet, planned):
        client, jail = as_person("administrator"), fleet.jails["www1"]
        text = client.get(url(jail, "destroy")).text
        for part in ("zroot/cellblock/host/x", "Acme loses it (3 members)", "The release 14.2-RELEASE", "is running"):
            assert part in text, part
        assert errors(client.post(url(jail, "destroy"), {"name": "www2"})) == {"name": ["Type www1, exactly."]}
        client.post(url(jail, "destroy"), {"name": "www1"})
        operation = Operation.objects.get()
        assert (operation.kind, operation.parameters) == ("jail_destroy", {"jail": str(jail.uuid), "name": "www1"})

    def test_destroy_says_why_not(self, as_person, fleet, planned):
        planned.refuses = {"": "copy is cloned from it: destroy that first."}
        response = as_person("administrator").get(url(fleet.jails["www1"], "destroy"))
        assert "copy is cloned from it" in response.text and 'name="name"' not in response.text

    def test_give(self, as_person, fleet, planned):
        client, jail = as_person("administrator"), fleet.jails["loghost"]
        assert errors(client.post(url(jail, "give"), {"tenant": ""})) == {"tenant": ["This field is required."]}
        client.post(url(jail, "give"), {"tenant": fleet.acme.pk})
        operation = Operation.objects.get()
        wish = {"jails": [str(jail.uuid)], "tenant": fleet.acme.pk}
        assert (operation.kind, operation.parameters) == ("jail_give", wish)

    def test_take_back(self, as_person, fleet, planned):
        client, jail = as_person("administrator"), fleet.jails["www1"]
        assert str(fleet.acme.pk) not in dict(client.get(url(jail, "give")).context["form"].fields["tenant"].choices)
        client.post(url(jail, "give"), {"tenant": ""})
        assert Operation.objects.get().parameters["tenant"] is None

    def test_an_archived_tenant_gets_nothing(self, as_person, fleet, planned):
        from django.utils import timezone

        fleet.other.archived_at = timezone.now()
        fleet.other.save()
        response = as_person("administrator").post(url(fleet.jails["www1"], "give"), {"tenant": fleet.other.pk})
        assert set(errors(response)) == {"tenant"}

    @pytest.mark.parametrize("action", ["change", "rename", "destroy", "give"])
    def test_rights(self, as_person, fleet, planned, action):
        jail = fleet.jails["www1"]
        allowed = {"administrator": 200, "operator": 403 if action == "give" else 200, "auditor": 403}
        for role, status in allowed.items():
            assert as_person(role).get(url(jail, action)).status_code == status, role
        if action == "destroy":  # owners do that themselves
            assert as_person("owner").get(url(jail, action)).status_code == 200
        for role in ("owner", "member", "viewer", "stranger")[action == "destroy" :]:
            client = as_person(role)
            assert client.get(url(jail, action)).status_code == client.post(url(jail, action)).status_code == 404, role

    @pytest.mark.parametrize("action", ["change", "rename", "destroy", "give"])
    def test_what_the_panel_did_not_make_is_left_alone(self, as_person, fleet, planned, action):
        jail = fleet.jails["legacy"]
        client = as_person("administrator")
        for way in (client.get, client.post):
            response = way(url(jail, action), follow=True)
            assert response.redirect_chain == [(reverse("jail", args=[jail.uuid]), 302)]
            assert "was not made by the panel" in response.text
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("action", ["change", "rename", "destroy", "give"])
    def test_what_is_being_made_is_left_alone(self, as_person, fleet, planned, action):
        jail = add_jail(fleet, "new", state="pending")
        assert "is still being made" in as_person("administrator").get(url(jail, action), follow=True).text

    @pytest.mark.parametrize("action", ["change", "rename", "destroy", "give"])
    def test_other_methods(self, as_person, fleet, action):
        assert as_person("administrator").put(url(fleet.jails["www1"], action)).status_code == 405
        assert as_person("administrator").get(CHECK).status_code == 405


class TestTheWayBack:
    """`Change` on a plan leads to the form with the values that the plan was made of."""

    def again(self, client, operation):
        form = client.get(form_url(operation)).context["form"]
        values = {name: form[name].value() for name in form.fields}
        return client.post(
            urlsplit(form_url(operation)).path,
            {
                name: "on"
                if value is True
                else ""
                if value in (None, False)
                else form.fields[name].prepare_value(value)
                for name, value in values.items()
                if value is not False
            },
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"boot": "", "start": "", "tenant": "", "quota": "1234567", "kind": "thick", "securelevel": "2"},
            {"network-1": "OFFICE", "ip-1": "192.0.2.60", "children_max": "7", "enforce_statfs": "0"},
        ],
    )
    def test_of_a_new_jail(self, as_person, fleet, planned, changes):
        client = as_person("administrator")
        changes = {name: fleet.office.pk if value == "OFFICE" else value for name, value in changes.items()}
        client.post(CREATE, {name: value for name, value in wanted(fleet, **changes).items() if value != ""})
        first = Operation.objects.get()
        assert self.again(client, first).status_code == 302
        second = Operation.objects.exclude(pk=first.pk).get()
        assert second.parameters == first.parameters

    def test_of_a_change(self, as_person, fleet, planned):
        client, jail = as_person("administrator"), fleet.jails["www1"]
        client.post(url(jail, "change"), changed(jail, hostname="x.example.org", boot="", quota="20 GiB"))
        first = Operation.objects.get()
        assert form_url(first).startswith(url(jail, "change") + "?")
        self.again(client, first)
        assert Operation.objects.exclude(pk=first.pk).get().parameters == first.parameters

    def test_of_the_others(self, as_person, fleet, planned):
        client, jail = as_person("administrator"), fleet.jails["www1"]
        client.post(url(jail, "rename"), {"name": "shop"})
        client.post(url(jail, "give"), {"tenant": fleet.other.pk})
        client.post(url(jail, "destroy"), {"name": "www1"})
        found = {row.kind: form_url(row) for row in Operation.objects.all()}
        assert found == {
            "jail_rename": url(jail, "rename") + "?name=shop",
            "jail_give": url(jail, "give") + f"?tenant={fleet.other.pk}",
            "jail_destroy": url(jail, "destroy"),
        }
        assert client.get(found["jail_rename"]).context["form"]["name"].value() == "shop"
        assert client.get(found["jail_give"]).context["form"]["tenant"].value() == str(fleet.other.pk)

    def test_a_plan_without_a_form_has_none(self, fleet):
        assert form_url(Operation(kind="jail_stop", parameters={"jails": ["x"]})) == ""
        assert form_url(Operation(kind="jail_create", parameters={"name": "of an older version"})) == ""


class TestSizes:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("10 GiB", 10 * GiB),
            ("10G", 10 * GiB),
            ("10 gb", 10 * GiB),
            ("1.5 MiB", 3 * MiB // 2),
            ("4096", 4096),
            ("0", 0),
        ],
    )
    def test_are_read(self, text, size):
        assert parse_size(text) == size

    @pytest.mark.parametrize("text", ["", "x", "-1", "1 XB", "1e9", "1.5", "10 GiBx", "1,5 GiB", "٣", "9" * 40, "0x10"])
    def test_or_refused(self, text):
        from django.core.exceptions import ValidationError

        with pytest.raises(ValidationError):
            parse_size(text)

    @pytest.mark.parametrize("size", [0, 1, 1023, 1024, 10 * GiB, 10 * GiB + 1, 1234567, 3 * MiB // 2])
    def test_are_written_so_that_they_read_the_same(self, size):
        assert parse_size(format_size(size)) == size


class TestNextFree:
    def test_it_begins_behind_the_hosts_own_and_goes_round(self, fleet):
        small = Network.objects.create(name="small", cidr="192.0.2.0/29", host=fleet.zfs)
        assert addresses.next_free(fleet.zfs, small) == "192.0.2.3"
        assert addresses.next_free(fleet.zfs, small, {"192.0.2.3", "192.0.2.4", "192.0.2.5"}) == "192.0.2.6"
        fleet.zfs.observed_addresses.update(ip="192.0.2.6")
        assert addresses.next_free(fleet.zfs, small) == "192.0.2.2", "the first one is left to the router"

    def test_it_skips_what_others_have(self, fleet):
        Address.objects.create(network=fleet.office, ip="192.0.2.3", jail=fleet.jails["gone"])
        fleet.ufs.observed_addresses.create(ip="192.0.2.4", interface="em0", jail_name="hand-made")
        assert addresses.next_free(fleet.zfs, fleet.office) == "192.0.2.5"

    def test_in_a_huge_network(self, fleet):
        huge = Network.objects.create(name="six", cidr="2001:db8::/32")
        assert addresses.next_free(fleet.zfs, huge) == "2001:db8::2"


class TestLimits:
    """Of memory, CPU and processes, which rctl(8) counts only where its host has turned that on."""

    def test_they_are_asked_for_in_units(self, as_person, fleet, planned):
        fields = {"memory": "512 MiB", "cpu": "150", "processes": "200"}
        assert as_person("operator").post(CREATE, wanted(fleet, tenant="", **fields)).status_code == 302
        limits = Operation.objects.get().parameters["limits"]
        assert (limits["memory"], limits["cpu"], limits["processes"]) == (512 << 20, 150, 200)

    def test_an_empty_field_takes_a_limit_away(self, as_person, fleet, planned):
        jail = fleet.jails["www1"]
        Jail.objects.filter(pk=jail.pk).update(limits={**jail.limits, "memory": 512 << 20})
        url = reverse("jail-change", args=[jail.uuid])
        page = as_person("operator").get(url)
        assert b'value="512 MiB"' in page.content and b"Holds at once, by rctl." in page.content
        given = {"hostname": jail.hostname, "memory": "", "securelevel": "-1", "enforce_statfs": "2"}
        assert as_person("operator").post(url, given).status_code == 302
        assert Operation.objects.get().parameters["limits"]["memory"] is None

    @pytest.mark.parametrize(("field", "value"), [("memory", "1 MiB"), ("cpu", "0"), ("processes", "2")])
    def test_too_little_is_said_at_the_field(self, as_person, fleet, planned, field, value):
        page = as_person("operator").post(CREATE, wanted(fleet, tenant="", **{field: value}))
        assert page.status_code == 422 and field in page.context["form"].errors

    @pytest.mark.parametrize(("value", "said"), [("0", True), ("1", False)])
    def test_a_host_that_counts_nothing_is_named_with_the_way_out(self, as_person, fleet, value, said):
        from jails.models import HostFactsRecord

        jail = fleet.jails["www1"]
        Jail.objects.filter(pk=jail.pk).update(limits={**jail.limits, "cpu": 50})
        HostFactsRecord.objects.filter(host=jail.host).delete()
        HostFactsRecord.objects.create(
            host=jail.host, data={"sysctls": {"kern.racct.enable": value}}, gathered_at=timezone.now()
        )
        for url in (*(reverse(name, args=[jail.uuid]) for name in ("jail", "jail-change")), f"{CREATE}?host=warden1"):
            text = as_person("operator").get(url).content
            assert (b"kern.racct.enable" in text) == said
            assert (reverse("host-readiness", args=[jail.host.name]).encode() + b'">readiness' in text) == said
        member = as_person("member").get(reverse("jail", args=[jail.uuid])).content
        assert (b"Its administrator can turn them on" in member) == said and b"readiness" not in member
