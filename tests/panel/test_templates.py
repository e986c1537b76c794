"""Templates: their list and page, making, publishing and removing one."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jails.freebsd import cleaning
from jails.models import Operation, Template
from panel.views import templates as views
from panel.views.jails import form_url
from tests.panel.fleet import add_jail
from tests.panel.hostile import HOSTILE

pytestmark = pytest.mark.django_db
LIST, CREATE = "/templates/", "/templates/create"


def page(template, action=""):
    return reverse(f"template-{action}" if action else "template", args=[template.pk])


def errors(response):
    return dict(response.context["form"].errors)


class TestList:
    def test_templates_with_whom_they_are_for(self, as_person, fleet):
        Template.objects.create(
            host=fleet.ufs, name="own", architecture="amd64", storage="ufs", path="/x", tenant=fleet.acme, state="ready"
        )
        response = as_person("administrator").get(LIST)
        rows = {template.name: template.jail_count for template in response.context["templates"]}
        assert rows == {"web": 1, "own": 0}
        assert "not published" in response.text and "Acme" in response.text
        assert [row.name for row in as_person("operator").get(LIST).context["templates"]] == ["web"]

    def test_an_empty_list_says_what_to_do(self, as_person, fleet):
        fleet.jails["www2"].delete()
        fleet.template.delete()
        assert "No template yet" in as_person("operator").get(LIST).text

    def test_tenants_see_no_such_pages(self, as_person, fleet):
        client = as_person("owner")
        assert [client.get(url).status_code for url in (LIST, CREATE, page(fleet.template))] == [404, 404, 404]
        assert client.post(page(fleet.template, "publish")).status_code == 404

    def test_it_costs_the_same_however_many_there_are(self, as_person, fleet):
        client = as_person("administrator")

        def cost():
            with CaptureQueriesContext(connection) as queries:
                client.get(LIST)
            return len(queries)

        before = cost()
        for number in range(20):
            Template.objects.create(
                host=fleet.zfs, name=f"t{number}", architecture="amd64", storage="zfs", path="/x", tenant=fleet.acme
            )
        assert cost() <= before


class TestPage:
    def test_what_it_is_and_what_is_made_from_it(self, as_person, fleet):
        Template.objects.update(cleaned=[["log", "/var/log/messages"], ["log", "/var/log/cron"], ["lease", "<b>"]])
        response = as_person("auditor").get(page(fleet.template))
        assert [jail.name for jail in response.context["jails"]] == ["www2"]
        assert response.context["cleaned"] == [("log", ["/var/log/messages", "/var/log/cron"]), ("lease", ["<b>"])]
        assert response.context["source"] == fleet.jails["loghost"]
        assert "14.2-RELEASE" in response.text and "<b>" not in response.text
        assert (
            page(fleet.template, "publish") not in response.text and page(fleet.template, "remove") not in response.text
        )

    def test_only_an_administrator_is_offered_to_publish_and_sees_what_is_cleaned(self, as_person, fleet):
        operators = as_person("operator").get(page(fleet.template)).text
        assert page(fleet.template, "publish") not in operators and page(fleet.template, "remove") in operators
        text = as_person("administrator").get(page(fleet.template)).text
        assert page(fleet.template, "publish") in text
        for what in (
            "ssh host keys",
            "authorized keys",
            "password hashes",
            "shell histories",
            "mail",
            "logs",
            "leases",
        ):
            assert what in text, what

    def test_all_that_is_cleaned_is_named(self):
        assert len(views.OF_THE_SYSTEM) + len(views.OF_PEOPLE) == len(cleaning.WHAT)

    def test_one_that_is_published_is_not_again(self, as_person, fleet):
        Template.objects.update(published_at=timezone.now())
        text = as_person("administrator").get(page(fleet.template)).text
        assert page(fleet.template, "publish") not in text and "for everybody" in text

    @pytest.mark.parametrize("action", ["publish", "remove"])
    def test_a_button_ends_in_a_plan_or_says_why_not(self, as_person, fleet, planned, action):
        client = as_person("administrator")
        response = client.post(page(fleet.template, action))
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        assert (operation.kind, operation.parameters) == (f"template_{action}", {"template": fleet.template.pk})
        assert form_url(operation) == ""
        planned.refuses = {"template": "www2 is cloned from it."}
        response = client.post(page(fleet.template, action), follow=True)
        assert response.redirect_chain == [(page(fleet.template), 302)] and "www2 is cloned from it." in response.text

    def test_rights(self, as_person, fleet):
        assert as_person("auditor").post(page(fleet.template, "publish")).status_code == 403
        assert as_person("auditor").post(page(fleet.template, "remove")).status_code == 403
        assert as_person("operator").post(page(fleet.template, "publish")).status_code == 403
        assert as_person("administrator").get(page(fleet.template, "publish")).status_code == 405
        fleet.people["operator"].operated_hosts.set([fleet.ufs])
        assert as_person("operator").get(page(fleet.template)).status_code == 404


class TestCreate:
    def wanted(self, fleet, **changes):
        return {"jail": str(fleet.jails["www2"].uuid), "name": "shop", "tenant": str(fleet.acme.pk)} | changes

    def test_it_ends_in_a_plan_and_the_way_back_has_all_of_it(self, as_person, fleet, planned):
        client = as_person("administrator")
        response = client.post(CREATE, self.wanted(fleet))
        operation = Operation.objects.get()
        assert response.url == reverse("operation", args=[operation.pk])
        wish = {"jail": str(fleet.jails["www2"].uuid), "name": "shop", "tenant": fleet.acme.pk}
        assert (operation.kind, operation.parameters, operation.host) == ("template_create", wish, fleet.zfs)
        form = client.get(form_url(operation)).context["form"]
        assert {name: form[name].value() for name in form.fields} == self.wanted(fleet)

    def test_only_stopped_jails_of_the_panel_are_offered(self, as_person, fleet):
        form = as_person("administrator").get(CREATE).context["form"]
        assert [words for _, words in form.fields["jail"].choices] == ["logdb on warden2", "www2 on warden1"]
        form = as_person("operator").get(CREATE).context["form"]
        assert [words for _, words in form.fields["jail"].choices] == ["www2 on warden1"]

    def test_the_link_of_a_jail_chooses_it_and_its_tenant(self, as_person, fleet):
        form = as_person("administrator").get(CREATE, {"jail": fleet.jails["www2"].uuid}).context["form"]
        assert (form["jail"].value(), form["tenant"].value()) == (str(fleet.jails["www2"].uuid), str(fleet.acme.pk))

    def test_a_running_jail_has_to_be_stopped_first(self, as_person, fleet, planned):
        client, jail = as_person("administrator"), fleet.jails["www1"]
        assert "is running. A template is made from a stopped jail" in client.get(CREATE, {"jail": jail.uuid}).text
        assert set(errors(client.post(CREATE, self.wanted(fleet, jail=str(jail.uuid))))) == {"jail"}

    def test_rights(self, as_person, fleet, planned):
        assert as_person("auditor").get(CREATE).status_code == 403
        client = as_person("operator")
        foreign = self.wanted(fleet, jail=str(fleet.jails["logdb"].uuid))
        assert client.post(CREATE, foreign).status_code == 404
        assert client.get(CREATE, {"jail": fleet.jails["logdb"].uuid}).status_code == 404
        assert set(errors(client.post(CREATE, self.wanted(fleet)))) == {"tenant"}
        assert client.post(CREATE, self.wanted(fleet, tenant="")).status_code == 302

    def test_what_is_refused_is_said_at_its_field(self, as_person, fleet, planned):
        planned.refuses = {"name": "warden1 has a template shop already."}
        response = as_person("administrator").post(CREATE, self.wanted(fleet))
        assert response.status_code == 422
        assert errors(response) == {"name": ["warden1 has a template shop already."]}

    @pytest.mark.parametrize("what", HOSTILE)
    @pytest.mark.parametrize("field", ["jail", "name", "tenant"])
    def test_hostile_values(self, as_person, fleet, planned, field, what):
        response = as_person("administrator").post(CREATE, self.wanted(fleet, **{field: HOSTILE[what]}))
        assert response.status_code == 422 and field in errors(response)
        assert not Operation.objects.exists()
        assert as_person("administrator").get(CREATE, {field: HOSTILE[what]}).status_code == 200

    def test_without_a_stopped_jail_it_says_so(self, as_person, fleet):
        add_jail(fleet, "x")
        for name in ("www2", "logdb"):
            fleet.jails[name].delete()
        assert "No stopped jail" in as_person("administrator").get(CREATE).text
