"""Publishing a template, end to end on the simulated host."""

import os
import threading

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection

from jails.models import Template, Tenant, User
from jails.operations import kind
from jails.operations.kind import Refused
from tests.operations import fakes
from tests.operations.meddling import Meddling
from tests.operations.test_template_create import IDENTITY, PERSONAL, inside, make, wish
from tests.operations.warden import expire

PUBLISH = "template_publish"


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture(params=["zfs", "ufs"])
def ground(request):
    return request.getfixturevalue("warden" if request.param == "zfs" else "plain_warden")


def template_of(ground, tenant):
    """One that was made for its own tenant, and so holds what is personal."""
    operation = ground.do("template_create", **wish(make(ground, tenant=tenant), tenant=tenant))
    assert operation.status == "done", operation.error
    return Template.objects.get(name="web")


def clone(warden, template, name="www2"):
    """A jail cloned from it, with its row."""
    row = warden.make(name, start=False, template=template)
    warden.sh(
        f"zfs destroy {row.dataset}; zfs clone -o cellblock:operation=made -o mountpoint={row.path} "
        f"{template.snapshot} {row.dataset}"
    )
    return row


def refused(ground, template, key=None):
    with pytest.raises(Refused) as error:
        ground.draft(PUBLISH, template=key or template.pk)
    assert list(error.value.errors) == ["template"]
    return error.value.errors["template"]


def test_what_is_personal_goes_and_everybody_may_have_the_rest(ground, acme):
    template = template_of(ground, acme)
    assert inside(ground, template) >= set(PERSONAL)
    before = ground.picture()
    operation = ground.do(PUBLISH, template=template.pk)
    assert operation.status == "done", operation.error
    assert operation.title == "Publish the template web" and operation.tenant == acme
    template.refresh_from_db()
    assert template.tenant is None and template.published_at is not None and template.touched
    assert not inside(ground, template) & {*IDENTITY, *PERSONAL}
    assert "usr/local/etc/app.conf" in inside(ground, template)
    said = [tuple(entry) for entry in template.cleaned]
    assert {path for _, path in said} >= {f"/{path}" for path in (*IDENTITY, *PERSONAL)}, "of both times"
    assert ("password hash", "root") in said and len(said) == len(set(said))
    after = ground.picture()
    assert (after["mounts"], after["jails"]) == (before["mounts"], before["jails"])
    assert "already" in refused(ground, template)


def test_without_clones_nothing_is_left_of_the_old_snapshot(warden, acme):
    template = template_of(warden, acme)
    warden.do(PUBLISH, template=template.pk)
    assert [name for name in warden.datasets() if "templates/" in name] == [template.dataset, template.snapshot]


def test_jails_that_were_cloned_before_keep_the_old_tree_until_the_last_goes(warden, acme):
    template = template_of(warden, acme)
    www2 = clone(warden, template)
    operation = warden.do(PUBLISH, template=template.pk)
    assert operation.status == "done", operation.error
    assert "zroot/cellblock/host/www2 keep" in operation.plan["warnings"][1]
    before = f"{template.dataset}@before-{operation.pk}"
    assert warden.simulation.run("zfs", "get", "-H", "-o", "value", "origin", www2.dataset) == f"{before}\n"
    assert warden.sh("cat /jail/www2/root/.sh_history") == "secret\n"
    assert not inside(warden, template) & set(PERSONAL)
    warden.sh(f"zfs destroy {www2.dataset}")
    assert before not in warden.datasets()


def test_on_ufs_one_archive_takes_the_place_of_the_other(plain_warden, acme):
    template = template_of(plain_warden, acme)
    assert plain_warden.do(PUBLISH, template=template.pk).status == "done"
    listed = plain_warden.simulation.run("ls", "-A", "/var/db/cellblock/templates", template.path)
    assert listed == "/var/db/cellblock/templates:\nweb\n\n/var/db/cellblock/templates/web:\ntree.tar\n"


# Refusals


def test_only_administrators_publish(warden, acme):
    template = template_of(warden, acme)
    warden.user = User.objects.create_user("olga", role=User.Role.OPERATOR)
    warden.user.operated_hosts.add(warden.row)
    with pytest.raises(PermissionDenied):
        warden.draft(PUBLISH, template=template.pk)


def test_a_template_that_is_not_there(ground, acme):
    template = template_of(ground, acme)
    assert "no such template" in refused(ground, template, template.pk + 1)
    ground.sh("zfs destroy -r zroot/cellblock/templates/web" if ground.zfs else f"rm -rf {template.path}")
    assert "cannot be published: missing on the host" in refused(ground, template)


def test_what_would_still_show_the_old_tree(warden, acme):
    template = template_of(warden, acme)
    warden.sh(f"zfs snapshot {template.dataset}@backup")
    assert f"{template.dataset}@backup would still show" in refused(warden, template)
    warden.sh(f"zfs destroy {template.dataset}@backup; zfs create {template.dataset}/more")
    assert "datasets below" in refused(warden, template)


def test_a_dataset_that_is_not_the_templates(warden, acme):
    template = template_of(warden, acme)
    warden.sh(f"zfs inherit cellblock:template {template.dataset}")
    assert "is not as Cellblock made it" in refused(warden, template)
    warden.sh(f"zfs set cellblock:template=web {template.dataset}; zfs unmount {template.dataset}")
    assert "is not mounted" in refused(warden, template)


@pytest.mark.parametrize("value", [None, "", 0, -1, True, "1; id", "web", [1], {}, 1.0, 2**63], ids=repr)
def test_hostile_values_are_refused_by_name(value):
    for name in (PUBLISH, "template_remove"):
        with pytest.raises(Refused) as error:
            kind.get(name).clean({"template": value})
        assert list(error.value.errors) == ["template"]


# What goes wrong


def test_links_out_of_the_tree_lead_nowhere(ground, acme):
    row = make(ground, tenant=acme)
    ground.sh("cd /jail/www1; rm -rf var/log tmp root/.ssh; ln -s ../../../../var/log var/log; ln -s /tmp tmp")
    ground.sh("ln -s ../../../../../root/.ssh /jail/www1/root/.ssh; mkdir -p /root/.ssh")
    for path in ("/var/log/messages", "/tmp/mine", "/root/.ssh/authorized_keys"):
        ground.sh('echo "the host" >"$1"', path)
    ground.do("template_create", **wish(row, tenant=acme))
    operation = ground.do(PUBLISH, template=Template.objects.get().pk)
    assert operation.status == "done", operation.error
    for path in ("/var/log/messages", "/tmp/mine", "/root/.ssh/authorized_keys"):
        assert ground.read(path) == "the host\n"


ZFS_FAULTS = ["^zfs rollback", "^jail -c", "^pw usermod", "^zfs rename", "^zfs snapshot"]
UFS_FAULTS = ["^mkdir", "^tar --numeric-owner -xpf", "^pw usermod", "^tar --numeric-owner --one", "^ln", "^mv -f"]


def failing(ground, acme, match):
    template = template_of(ground, acme)
    files = inside(ground, template)
    before = ground.picture()
    archive = ground.sh("cat /var/db/cellblock/templates/web/tree.tar | sha256") if not ground.zfs else ""
    ground.fail(match, nth=1)
    operation = ground.do(PUBLISH, template=template.pk)
    assert operation.status == "failed", operation.error
    ground.fault()
    assert ground.picture() == before and inside(ground, template) == files
    if ground.zfs:
        assert ground.sh("cat /var/db/cellblock/templates/web/root/.sh_history") == "secret\n"
    else:
        assert ground.sh("cat /var/db/cellblock/templates/web/tree.tar | sha256") == archive
    template.refresh_from_db()
    assert (template.tenant, template.published_at) == (acme, None)


@pytest.mark.parametrize("match", ZFS_FAULTS)
def test_a_failure_changes_nothing_on_zfs(warden, acme, match):
    failing(warden, acme, match)


@pytest.mark.parametrize("match", UFS_FAULTS)
def test_a_failure_changes_nothing_on_ufs(plain_warden, acme, match):
    failing(plain_warden, acme, match)


def test_a_snapshot_that_a_backup_takes_meanwhile(warden, acme):
    """It would show what was taken out, so nothing is published; the tree beside the snapshot may stay as it is."""
    template = template_of(warden, acme)
    operation = warden.confirm(PUBLISH, template=template.pk)
    backup = Meddling(warden.connection, "sh remove", lambda: warden.sh(f"zfs snapshot {template.dataset}@daily"))
    warden.work(operation, connect=lambda host: backup)
    assert operation.status == "failed" and "has no snapshots but" in operation.error, operation.error
    template.refresh_from_db()
    assert template.published_at is None and inside(warden, template) >= set(PERSONAL)
    warden.sh(f"zfs destroy {template.dataset}@daily")
    assert warden.do(PUBLISH, template=template.pk).status == "done"
    assert not inside(warden, template) & set(PERSONAL)


def test_an_archive_that_somebody_put_there_meanwhile_is_not_replaced(plain_warden, acme):
    template = template_of(plain_warden, acme)
    operation = plain_warden.confirm(PUBLISH, template=template.pk)

    def by_hand():
        plain_warden.sh("cd /var/db/cellblock/templates/web; rm tree.tar; echo mine >tree.tar")

    meddling = Meddling(plain_warden.connection, "is not the file that it was", by_hand)
    plain_warden.work(operation, connect=lambda host: meddling)
    assert meddling.done and operation.status == "failed", operation.error
    assert plain_warden.read("/var/db/cellblock/templates/web/tree.tar") == "mine\n"
    assert plain_warden.simulation.run("ls", "-A", "/var/db/cellblock/templates") == "web\n"


def test_a_worker_killed_in_the_middle_of_cleaning(committed, ground, acme):
    template = template_of(ground, acme)
    operation = ground.confirm(PUBLISH, template=template.pk)
    ground.fault(match="^rm -rf /", slow=0.2)
    connection.close()
    child = os.fork()
    if child == 0:
        cleaning = Meddling(ground.connection, "sh remove", threading.Timer(0.6, fakes.die).start)
        ground.work(operation, connect=lambda host: cleaning)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    operation.refresh_from_db()
    assert operation.steps.get(data__key="clean").status == "running"
    # What is cleaned by half is no template: who makes a jail of it now gets the whole tree, or none.
    assert inside(ground, template) >= set(PERSONAL)
    ground.fault()
    expire(operation)
    assert ground.work(operation) == "done", operation.error
    template.refresh_from_db()
    assert not inside(ground, template) & {*IDENTITY, *PERSONAL}
    assert {path for _, path in template.cleaned} >= {f"/{path}" for path in PERSONAL}
