"""Templates of stopped jails, end to end on the simulated host."""

import os
import threading

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection

from jails.models import Jail, Template, Tenant, User
from jails.operations import kind, lifecycle
from jails.operations.kind import Refused
from tests.operations import fakes
from tests.operations.meddling import Meddling
from tests.operations.warden import expire

CREATE = "template_create"
IDENTITY = ["etc/ssh/ssh_host_rsa_key", "etc/hostid", "boot/entropy", "var/db/dhclient.leases.em0"]
PERSONAL = ["root/.ssh/authorized_keys", "root/.sh_history", "var/log/auth.log", "var/mail/ada", "tmp/scratch"]
TREE = "/jail/www1"


@pytest.fixture
def acme(db):
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture(params=["zfs", "ufs"])
def ground(request):
    """A host with ZFS, and one without."""
    return request.getfixturevalue("warden" if request.param == "zfs" else "plain_warden")


def make(ground, name="www1", **fields):
    """A stopped jail with what somebody leaves in one."""
    row = ground.make(name, start=False, **fields)
    for path in (*IDENTITY, *PERSONAL, "usr/local/etc/app.conf"):
        ground.sh('mkdir -p "${1%/*}"; echo secret >"$1"', f"/jail/{name}/{path}")
    return row


def wish(row, name="web", tenant=None):
    return {"jail": str(row.uuid), "name": name, "tenant": tenant.pk if tenant else None}


def refused(ground, field, **parameters):
    with pytest.raises(Refused) as error:
        ground.draft(CREATE, **parameters)
    assert list(error.value.errors) == [field]
    return error.value.errors[field]


def inside(ground, template):
    """Paths of a template's tree that hold something, relative to its root."""
    if template.snapshot:
        ground.sh('zfs clone -o mountpoint=/look "$1" zroot/look', template.snapshot)
    else:
        ground.sh('mkdir /look; tar -xpf "$1" -C /look', f"{template.path}/tree.tar")
    found = ground.sh("cd /look; find . -type f -size +0")
    ground.sh("zfs destroy zroot/look" if template.snapshot else "chflags -R noschg /look; rm -rf /look")
    return {line.removeprefix("./") for line in found.splitlines()}


def test_a_copy_that_is_cleaned_and_does_not_depend_on_the_jail(ground, acme):
    row = make(ground, tenant=acme)
    before = ground.picture()
    operation = ground.do(CREATE, **wish(row, tenant=acme))
    assert operation.status == "done", operation.error
    assert operation.title == "Make the template web of www1" and operation.tenant == acme
    template = Template.objects.get()
    assert (template.name, template.state, template.tenant) == ("web", Template.State.READY, acme)
    assert (template.touched, template.source_jail, template.published_at) == (True, "www1", None)
    assert template.operation is None and template.architecture == "amd64"
    files = inside(ground, template)
    assert not files & set(IDENTITY) and files >= {*PERSONAL, "usr/local/etc/app.conf", "bin/sh"}
    assert [f"/{path}" for path in IDENTITY] == [path for _, path in template.cleaned]
    assert template.cleaned[0] == ["ssh host key", "/etc/ssh/ssh_host_rsa_key"]
    after = ground.picture()
    assert {path for path in after["files"] if path.startswith("jail")} == {
        path for path in before["files"] if path.startswith("jail")
    }
    assert (after["jails"], after["addresses"]) == (before["jails"], before["addresses"])
    assert set(after["mounts"]) - set(before["mounts"]) <= {template.path}


def test_on_zfs(warden):
    row = make(warden)
    warden.do(CREATE, **wish(row))
    template = Template.objects.get()
    assert template.dataset == "zroot/cellblock/templates/web"
    assert template.snapshot == "zroot/cellblock/templates/web@cellblock" and template.used > 0
    below = [name for name in warden.datasets() if "templates" in name or "www1" in name]
    assert below == [
        "zroot/cellblock/host/www1",
        "zroot/cellblock/templates",
        "zroot/cellblock/templates/web",
        "zroot/cellblock/templates/web@cellblock",
    ]
    values = warden.simulation.run(
        "zfs", "get", "-H", "-o", "value", "mounted,mountpoint,origin,cellblock:touched", template.dataset
    )
    assert values == "yes\n/var/db/cellblock/templates/web\n-\nyes\n"
    assert warden.simulation.run("ls", "-A", "/var/db/cellblock/templates") == "web\n"
    warden.sh("zfs destroy zroot/cellblock/host/www1")


def test_on_ufs(plain_warden):
    row = make(plain_warden)
    plain_warden.do(CREATE, **wish(row))
    template = Template.objects.get()
    assert (template.dataset, template.snapshot, template.path) == ("", "", "/var/db/cellblock/templates/web")
    assert plain_warden.simulation.run("ls", "-A", "/var/db/cellblock/templates", template.path) == (
        "/var/db/cellblock/templates:\nweb\n\n/var/db/cellblock/templates/web:\ntree.tar\n"
    )
    assert plain_warden.simulation.run("stat", "-f", "%Lp", template.path) == "700\n"


def test_flags_and_owners_survive_on_ufs(plain_warden):
    row = make(plain_warden)
    plain_warden.sh("chown 80:80 /jail/www1/usr/local/etc/app.conf; chflags schg /jail/www1/sbin/init")
    assert plain_warden.do(CREATE, **wish(row)).status == "done"
    plain_warden.sh("mkdir /look; tar -xpf /var/db/cellblock/templates/web/tree.tar -C /look")
    listed = plain_warden.sh("stat -f '%u:%g %Sf' /look/usr/local/etc/app.conf /look/sbin/init")
    assert listed == "80:80 -\n0:0 schg\n"


def test_for_others_than_the_jails_tenant_more_is_taken_out(ground, acme):
    for number, (of_jail, of_template) in enumerate([(acme, None), (None, acme), (None, None)]):
        row = make(ground, f"j{number}", tenant=of_jail)
        operation = ground.do(CREATE, **wish(row, f"t{number}", of_template))
        assert operation.status == "done", operation.error
        template = Template.objects.get(name=f"t{number}")
        assert not inside(ground, template) & {*IDENTITY, *PERSONAL}
        assert ["shell history", "/root/.sh_history"] in template.cleaned
        assert ["password hash", "root"] in template.cleaned
    hashes = ground.sh("cut -d: -f1,2 /jail/j0/etc/master.passwd")
    assert "root:\n" in hashes, "the jail itself keeps what it has"


def test_an_untouched_jail_gives_an_untouched_template(warden):
    row = make(warden, touched=False)
    warden.do(CREATE, **wish(row))
    assert Template.objects.get().touched is False


def test_the_release_of_a_template_is_that_of_its_jail(warden):
    from jails.models import Release

    release = Release.objects.create(
        host=warden.row, name="14.2-RELEASE", architecture="amd64", storage="zfs", path="/x", state="ready"
    )
    row = make(warden, release=release)
    warden.do(CREATE, **wish(row))
    first = Template.objects.get()
    Jail.objects.filter(pk=row.pk).update(template=first, release=None)
    warden.do(CREATE, **wish(row, "again"))
    assert first.release == release and Template.objects.get(name="again").release == release


LIMITS = {"quota": None, "children_max": 0, "securelevel": -1, "enforce_statfs": 2}


@pytest.mark.parametrize(("storage", "form"), [("zfs", "thin"), ("zfs", "thick"), ("ufs", "thick")])
def test_jails_are_made_of_what_its_snapshot_has(warden, acme, storage, form):
    warden.do(CREATE, **wish(make(warden, tenant=acme), tenant=acme))
    template = Template.objects.get()
    warden.sh("echo changed >/var/db/cellblock/templates/web/etc/changed")
    base = {"name": "www2", "kind": form, "storage": storage, "release": None, "template": template.pk}
    more = {"hostname": "www2", "addresses": [], "boot": False, "start": True, "tenant": acme.pk, "limits": LIMITS}
    operation = warden.do("jail_create", **base, **more)
    assert operation.status == "done", operation.error
    assert warden.sh("ls /jail/www2/root/.sh_history /jail/www2/etc/changed || true") == "/jail/www2/root/.sh_history\n"
    row = Jail.objects.get(name="www2")
    assert row.touched and list(template.descendants()) == [row]
    assert warden.running() == {"www2": "/jail/www2"}


# Refusals


def test_what_runs_is_refused(ground):
    row = ground.make("www1")
    assert "www1 runs: stop it first" in refused(ground, "jail", **wish(row))


def test_another_jail_on_the_same_tree_is_refused(ground):
    row = make(ground)
    ground.sh("jail -c name=other path=/jail/www1 persist")
    assert "other runs in /jail/www1" in refused(ground, "jail", **wish(row))


def test_names_that_are_taken(ground):
    row = make(ground)
    Template.objects.create(host=ground.row, name="web", architecture="amd64", storage="ufs", path="/x")
    assert "has a template web already" in refused(ground, "name", **wish(row))
    ground.sh("mkdir -p /var/db/cellblock/templates/byhand")
    assert "byhand is there on" in refused(ground, "name", **wish(row, "byhand"))


def test_a_dataset_made_by_hand_has_its_name(warden):
    row = make(warden)
    warden.sh("zfs create -o mountpoint=none zroot/cellblock/templates; zfs create zroot/cellblock/templates/web")
    assert "zroot/cellblock/templates/web is there" in refused(warden, "name", **wish(row))


def test_a_jail_that_the_panel_did_not_make(warden):
    warden.sh("mkdir /jail/byhand; echo 'byhand { path = /jail/byhand; persist; }' >/etc/jail.conf.d/byhand.conf")
    assert "not made by Cellblock" in refused(warden, "jail", **wish(warden.find("byhand")))


def test_somebody_elses_dataset_at_the_jails_path(warden):
    row = make(warden)
    warden.sh("zfs inherit cellblock:jail zroot/cellblock/host/www1")
    assert "is not the dataset that was made for www1" in refused(warden, "jail", **wish(row))


def test_a_full_pool(warden):
    row = make(warden)
    warden.sh("zfs set quota=200k zroot/cellblock/host/www1")
    assert "MiB left" in refused(warden, "name", **wish(row))


def test_a_tenants_jail_is_no_template_for_another_tenant(warden, acme):
    globex = Tenant.objects.create(slug="globex", name="Globex")
    row = make(warden, tenant=acme)
    assert "www1 is acme's" in refused(warden, "tenant", **wish(row, tenant=globex))


HOSTILE = ["", "-rf", "a b", "../x", "a/b", "a@b", "a#b", "a\nb", "a\0b", "wеb", "x" * 64, "web;id", "$(id)", "*", "1",
           "a.b", "\u202eweb", 7, None, ["web"]]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_names_are_refused_by_name(value):
    with pytest.raises(Refused) as error:
        kind.get(CREATE).clean({"jail": "7b0d3f2e-0000-4000-8000-000000000000", "name": value, "tenant": None})
    assert list(error.value.errors) == ["name"]


def test_only_who_runs_the_host(warden, acme):
    row = make(warden, tenant=acme)
    warden.user = User.objects.create_user("mia")
    acme.memberships.create(user=warden.user, role="owner")
    with pytest.raises(PermissionDenied):
        warden.draft(CREATE, **wish(row))


def test_one_name_is_confirmed_once(warden):
    row = make(warden)
    first, second = warden.draft(CREATE, **wish(row)), warden.draft(CREATE, **wish(row))
    lifecycle.confirm(first, first.digest, user=warden.user)
    with pytest.raises(Refused):
        lifecycle.confirm(second, second.digest, user=warden.user)
    lifecycle.cancel(first, user=warden.user)
    assert not Template.objects.exists()
    third = warden.draft(CREATE, **wish(row))
    lifecycle.confirm(third, third.digest, user=warden.user)


# A tree that means ill


def test_links_out_of_the_tree_lead_nowhere(ground):
    row = make(ground)
    ground.sh(
        "cd /jail/www1; rm -rf etc/ssh var/log var/db/entropy tmp root;"
        "ln -s /etc/ssh etc/ssh; ln -s ../../../../../../../var/log var/log; ln -s /var/db/entropy var/db/entropy;"
        "ln -s /tmp tmp; mkdir root; ln -s /root/.ssh root/.ssh; ln -s /etc/hostid etc/machine-id"
    )
    own = ["/etc/ssh/ssh_host_rsa_key", "/var/log/messages", "/var/db/entropy/x", "/tmp/mine", "/root/.ssh/id_rsa"]
    for path in (*own, "/etc/hostid"):
        ground.sh('mkdir -p "${1%/*}"; echo "the host" >"$1"', path)
    operation = ground.do(CREATE, **wish(row))
    assert operation.status == "done", operation.error
    for path in (*own, "/etc/hostid"):
        assert ground.read(path) == "the host\n"


def test_a_tree_whose_tools_do_not_clean_is_given_up(warden):
    row = make(warden)
    warden.sh("rm /jail/www1/bin/rm; printf '#!/bin/sh\\nexit 0\\n' >/jail/www1/bin/rm; chmod 755 /jail/www1/bin/rm")
    operation = warden.do(CREATE, **wish(row))
    assert operation.status == "failed" and "could not be cleaned: ssh host key" in operation.error
    assert not Template.objects.exists()


def test_a_tree_without_a_shell_is_given_up(ground):
    row = make(ground)
    ground.sh("rm /jail/www1/bin/sh")
    before = ground.picture()
    operation = ground.do(CREATE, **wish(row))
    assert operation.status == "failed" and "Everything it had made was removed" in operation.error
    assert ground.picture() == before and not Template.objects.exists()


# What goes wrong

ZFS_FAULTS = [
    "^zfs snapshot", "^zfs send", "^zfs receive", "^zfs set", "^zfs mount", "^jail -c", "^rm -rf /etc/hostid",
    "^zfs unmount", "^rmdir", "^zfs destroy zroot/cellblock/templates", "^mv", "^zfs rename",
]  # fmt: skip
UFS_FAULTS = [
    "^mkdir", "^tar --numeric-owner --one", "^tar --numeric-owner -xpf", "^jail -c", "^rm -rf /etc/hostid", "^chflags",
    "^rm -rfx", "^mv",
]  # fmt: skip


def failing(ground, match, nth=1):
    row = make(ground)
    before = ground.picture()
    # What is tried several times fails each time.
    ground.fail(match, **({} if "unmount" in match else {"nth": nth}))
    operation = ground.do(CREATE, **wish(row))
    assert operation.status == "failed", operation.error
    assert "Everything it had made was removed." in operation.error
    assert ground.picture() == before and not Template.objects.exists()


@pytest.mark.parametrize("match", ZFS_FAULTS)
def test_a_failure_leaves_nothing_on_zfs(warden, match):
    failing(warden, match)


def test_a_failure_of_the_last_step_leaves_nothing(warden):
    failing(warden, "^zfs mount", nth=2)


@pytest.mark.parametrize("match", UFS_FAULTS)
def test_a_failure_leaves_nothing_on_ufs(plain_warden, match):
    failing(plain_warden, match)


def test_a_snapshot_that_a_backup_takes_meanwhile_would_show_what_was_not_cleaned(warden):
    row = make(warden)
    operation = warden.confirm(CREATE, **wish(row))
    before = warden.picture()

    def backup():
        warden.sh("zfs snapshot zroot/cellblock/templates/web.*@daily 2>/dev/null || zfs snapshot -r zroot@daily")

    warden.work(operation, connect=lambda host: Meddling(warden.connection, 12, backup))
    assert operation.status == "failed" and "has no snapshots" in operation.error, operation.error
    warden.sh("zfs destroy -r zroot@daily")
    assert warden.picture()["files"] == before["files"]
    assert not [name for name in warden.datasets() if "web" in name]


@pytest.mark.parametrize(
    ("request_of", "words"),
    [("warden", "zfs snapshot"), ("warden", "sh remove"), ("warden", "zfs rename"),
     ("plain_warden", "-xpf"), ("plain_warden", "sh remove"), ("plain_warden", "mv -n")],
)  # fmt: skip
def test_a_name_taken_by_hand_meanwhile_is_left_alone(request, request_of, words):
    ground = request.getfixturevalue(request_of)
    row = make(ground)
    operation = ground.confirm(CREATE, **wish(row))

    def by_hand():
        if ground.zfs:
            ground.sh("zfs create -o made:by=hand -o mountpoint=none zroot/cellblock/templates/web")
        else:
            ground.sh("mkdir /var/db/cellblock/templates/web; echo mine >/var/db/cellblock/templates/web/mine")

    meddling = Meddling(ground.connection, words, by_hand)
    ground.work(operation, connect=lambda host: meddling)
    assert meddling.done and operation.status == "failed", operation.error
    assert not Template.objects.exists()
    if ground.zfs:
        left = [name for name in ground.datasets() if "/templates/" in name or "@cellblock-" in name]
        assert left == ["zroot/cellblock/templates/web"]
    else:
        left = ground.sh("find /var/db/cellblock/templates -mindepth 1").split()
        assert left == ["/var/db/cellblock/templates/web", "/var/db/cellblock/templates/web/mine"]


def test_a_worker_killed_in_the_middle_of_cleaning(committed, ground):
    """The half-cleaned tree never becomes real, and what was cleaned is known all the same."""
    row = make(ground)
    operation = ground.confirm(CREATE, **wish(row))
    ground.fault(match="^rm -rf /", slow=0.2)
    connection.close()
    child = os.fork()
    if child == 0:
        # The timer begins with the cleaning, and ends while it is under way.
        cleaning = Meddling(ground.connection, "sh remove", threading.Timer(0.6, fakes.die).start)
        ground.work(operation, connect=lambda host: cleaning)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    operation.refresh_from_db()
    assert operation.steps.get(data__key="clean").status == "running"
    ground.fault()
    expire(operation)
    assert ground.work(operation) == "done", operation.error
    template = Template.objects.get()
    assert not inside(ground, template) & {*IDENTITY, *PERSONAL}
    assert {path for _, path in template.cleaned} >= {f"/{path}" for path in (*IDENTITY, *PERSONAL)}
    assert "clean-" not in ground.simulation.run("jls", "name")


def test_a_cancelled_operation_leaves_nothing(ground):
    row = make(ground)
    before = ground.picture()
    operation = ground.confirm(CREATE, **wish(row))
    cancel = Meddling(ground.connection, 6, lambda: lifecycle.cancel(operation, user=ground.user))
    ground.work(operation, connect=lambda host: cancel)
    assert operation.status == "cancelled" and ground.picture() == before
    assert not Template.objects.exists()
