"""Removing a template, end to end on the simulated host; and which jails come from one."""

import pytest

from jails.models import Jail, Operation, Release, Template
from jails.operations import lifecycle
from jails.operations.kind import Refused
from tests.operations.meddling import Meddling
from tests.operations.test_template_create import make, wish
from tests.operations.test_template_publish import clone

REMOVE = "template_remove"


@pytest.fixture(params=["zfs", "ufs"])
def ground(request):
    return request.getfixturevalue("warden" if request.param == "zfs" else "plain_warden")


def template_of(ground):
    operation = ground.do("template_create", **wish(make(ground)))
    assert operation.status == "done", operation.error
    return Template.objects.get(name="web")


def refused(ground, template):
    with pytest.raises(Refused) as error:
        ground.draft(REMOVE, template=template.pk)
    assert list(error.value.errors) == ["template"]
    return error.value.errors["template"]


def left(ground):
    """Of any template, on the host."""
    found = [name for name in ground.datasets() if "/templates/" in name] if ground.zfs else []
    return [*found, *ground.sh("ls -A /var/db/cellblock/templates").split()]


def test_all_of_it_goes_and_nothing_else(ground):
    row = make(ground)
    ground.do("host_setup", reserve=False)
    before = ground.picture()
    ground.do("template_create", **wish(row))
    template = Template.objects.get()
    operation = ground.do(REMOVE, template=template.pk)
    assert operation.status == "done", operation.error
    assert not Template.objects.exists() and ground.picture() == before
    assert not [line for line in ground.commands() if line.startswith("zfs destroy -")]


def test_what_goes_is_named(warden):
    template = template_of(warden)
    operation = warden.draft(REMOVE, template=template.pk)
    assert operation.plan["loses"] == [template.dataset, template.snapshot]
    assert operation.title == "Remove the template web"


def test_a_template_that_jails_come_from_stays(warden):
    template = template_of(warden)
    copied = warden.make("copied", start=False, template=template)
    cloned = clone(warden, template, "cloned")
    assert set(template.descendants()) == {copied, cloned}
    assert "these come from it: cloned and copied." in refused(warden, template)


def test_a_template_that_has_clones_by_hand_stays(warden):
    template = template_of(warden)
    warden.sh(f"zfs clone -o mountpoint=none {template.snapshot} zroot/byhand")
    assert refused(warden, template) == "web stays as long as there are clones of it: zroot/byhand."


def test_descendants_by_what_they_are_clones_of(warden):
    template = template_of(warden)
    by_hand, other = warden.make("byhand", start=False, managed=False), warden.make("other", start=False)
    Jail.objects.filter(pk=by_hand.pk).update(origin=f"{template.dataset}@before-x")
    Jail.objects.filter(pk=other.pk).update(origin=f"{template.dataset}2@cellblock")
    assert list(template.descendants()) == [by_hand]


def test_descendants_of_a_release_include_those_of_its_templates(warden):
    release = Release.objects.create(
        host=warden.row, name="14.2-RELEASE", architecture="amd64", storage="zfs", path="/x",
        dataset="zroot/cellblock/base", snapshot="zroot/cellblock/base@cellblock", state="ready",
    )  # fmt: skip
    thin = warden.make("thin", start=False)
    of_template = warden.make("copied", start=False, release=release, storage="zfs", origin="")
    Jail.objects.filter(pk=of_template.pk).update(origin="")
    assert set(release.descendants()) == {thin, of_template}


def test_what_is_not_cellblocks_is_not_removed(warden):
    template = template_of(warden)
    warden.sh(f"zfs snapshot {template.dataset}@backup")
    assert f"{template.dataset}@backup would go with it" in refused(warden, template)
    warden.sh(f"zfs destroy {template.dataset}@backup; zfs inherit cellblock:template {template.dataset}")
    assert "is not as Cellblock made it" in refused(warden, template)


def test_a_clone_made_meanwhile_keeps_it(warden):
    template = template_of(warden)
    operation = warden.confirm(REMOVE, template=template.pk)
    assert Template.objects.get().state == Template.State.REMOVING
    by_hand = Meddling(warden.connection, 1, lambda: warden.sh(f"zfs clone {template.snapshot} zroot/byhand"))
    warden.work(operation, connect=lambda host: by_hand)
    assert operation.status == "failed" and "has no clones" in operation.error, operation.error
    assert template.snapshot in warden.datasets() and Template.objects.get().state == Template.State.READY


def test_a_folder_that_cannot_be_renamed_stays(plain_warden):
    template = template_of(plain_warden)
    before = plain_warden.picture()
    plain_warden.fail("^mv")
    operation = plain_warden.do(REMOVE, template=template.pk)
    assert operation.status == "failed", operation.error
    assert plain_warden.picture() == before and Template.objects.get().state == Template.State.READY


def test_what_is_gone_already_is_forgotten(ground):
    template = template_of(ground)
    ground.sh("zfs destroy -r zroot/cellblock/templates/web" if ground.zfs else f"rm -rf {template.path}")
    operation = ground.do(REMOVE, template=template.pk)
    assert operation.status == "done" and "is gone from" in operation.plan["summary"][0], operation.error
    assert not Template.objects.exists()


def test_only_one_removes_it(ground):
    template = template_of(ground)
    first, second = (ground.draft(REMOVE, template=template.pk) for _ in range(2))
    lifecycle.confirm(first, first.digest, user=ground.user)
    with pytest.raises(Refused, match="being removed"):
        lifecycle.confirm(second, second.digest, user=ground.user)
    lifecycle.cancel(first, user=ground.user)
    assert Template.objects.get().state == Template.State.READY


def test_what_a_stuck_making_has_left_can_be_removed(ground):
    row = make(ground)
    # The cleaning fails, and so does taking away what was made.
    for match in ("^rm -rf /etc/hostid", "^zfs destroy -r", "^rm -rfx"):
        ground.fail(match)
    operation = ground.do("template_create", **wish(row))
    assert operation.status == Operation.Status.STUCK, operation.error
    template = Template.objects.get()
    assert template.state == Template.State.PENDING and left(ground)
    ground.fault()
    removal = ground.do(REMOVE, template=template.pk)
    assert removal.status == "done", removal.error
    assert not Template.objects.exists() and not left(ground)
    assert ground.do("template_create", **wish(row)).status == "done"
