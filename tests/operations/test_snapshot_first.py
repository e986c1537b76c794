"""A snapshot before what overwrites files of a jail, within its tenant's plan: on a simulated host."""

import pytest

from jails import plans
from jails.models import Jail, SshKey, Tenant, TenantPlan
from jails.operations import lifecycle, snapshots
from jails.operations.kind import Refused
from tests.freebsd.test_logins import KEYS
from tests.operations.test_snapshots import WWW1, listed, take

MARK = "-o cellblock:kind=automatic"


@pytest.fixture
def www1(warden):
    """A stopped jail of acme, whose plan has two snapshots: monday by hand, and older of the panel itself."""
    acme = Tenant.objects.create(name="Acme", slug="acme")
    TenantPlan.objects.create(tenant=acme, snapshots=2)
    row = warden.make("www1", start=False, tenant=acme)
    warden.sh("mkdir /jail/www1/srv; echo old >/jail/www1/srv/page")
    assert take(warden, row).status == "done"
    warden.sh("echo new >/jail/www1/srv/page")
    return row


def older(warden, *names):
    for name in names:
        warden.sh(f"zfs snapshot {MARK} {WWW1}@{name}; sleep 1.1")
    warden.refresh()


def restore(row, **more):
    return {"jail": str(row.uuid), "snapshot": "monday", "path": "/srv/page", "how": "replace", **more}


def asked(warden, row, kind="file_restore", **wish):
    warden.refresh()
    row.refresh_from_db()
    return snapshots.ask_first(kind, wish, row, lambda: warden.facts().snapshots_of(WWW1))


def test_it_is_taken_before_a_file_is_overwritten(warden, www1):
    wish = asked(warden, www1, **restore(www1))
    assert wish == restore(www1, snapshot_first=True)
    operation = warden.do("file_restore", **wish)
    assert (operation.status, operation.error) == ("done", "")
    name = f"cellblock-before-restore-{str(operation.pk)[:8]}"
    assert listed(warden) == ["monday", name] and Jail.objects.get(pk=www1.pk).snapshots == 2
    assert [step.data["key"] for step in operation.steps.order_by("index")][:2] == ["snapshot-before", "unpack"]
    assert warden.read("/jail/www1/srv/page") == "old\n"
    assert warden.read(f"/jail/www1/.zfs/snapshot/{name}/srv/page") == "new\n"


def test_the_oldest_of_the_panels_own_makes_room_and_never_a_persons(warden, www1):
    older(warden, "older")
    wish = asked(warden, www1, **restore(www1))
    assert wish == restore(www1, snapshot_first=True, instead=["older"])
    operation = warden.do("file_restore", **wish)
    assert (operation.status, operation.error) == ("done", "")
    assert operation.plan["loses"][0].startswith("the automatic snapshot older, of ")
    assert len(listed(warden)) == 2 and "monday" in listed(warden) and "older" not in listed(warden)
    assert plans.use(www1.tenant).snapshots == 2
    with pytest.raises(Refused, match="no automatic snapshot that can go"):
        warden.draft("file_restore", **restore(www1, snapshot_first=True, instead=["monday"]))
    with pytest.raises(Refused, match="no room"):
        warden.draft("file_restore", **restore(www1, snapshot_first=True))


def test_of_another_kind_none_goes_by_itself_and_for_room_only_where_there_is_no_other(warden, www1):
    TenantPlan.objects.update(snapshots=5)
    older(warden, *(f"cellblock-before-{name}" for name in ("restore-1", "restore-2", "restore-3", "keys-4")))
    keys = {"jail": str(www1.uuid), "login": "web", "person": 1, "sshd": False, "keys": ["SHA256:x"]}
    assert asked(warden, www1, "keys_change", **keys)["instead"] == ["cellblock-before-keys-4"]
    assert asked(warden, www1, "drift_repair", jail=str(www1.uuid))["instead"] == ["cellblock-before-restore-1"]
    TenantPlan.objects.update(snapshots=9)
    operation = warden.do("file_restore", **restore(www1, snapshot_first=True))
    assert (operation.status, operation.error) == ("done", "")
    assert listed(warden)[:4] == [
        "monday",
        *(f"cellblock-before-{name}" for name in ("restore-2", "restore-3", "keys-4")),
    ]


def test_without_room_it_goes_on_without_and_says_so(warden, www1):
    TenantPlan.objects.update(snapshots=1)
    wish = asked(warden, www1, **restore(www1))
    assert wish == restore(www1, snapshot_first=False)
    operation = warden.do("file_restore", **wish)
    assert (operation.status, operation.error) == ("done", "") and listed(warden) == ["monday"]
    assert "the plan of acme has no room for one" in operation.plan["notes"][-1]


def test_what_is_held_or_cloned_does_not_make_room(warden, www1):
    older(warden, "older", "later")
    warden.sh(f"zfs hold mine {WWW1}@older; zfs clone -o mountpoint=none {WWW1}@later zroot/cellblock/host/copy")
    assert asked(warden, www1, **restore(www1))["snapshot_first"] is False


def test_what_is_put_back_from_does_not_make_room(warden, www1):
    """It would be gone before the file is taken out of it."""
    older(warden, "older")
    wish = restore(www1) | {"snapshot": "older"}
    assert asked(warden, www1, **wish) == wish | {"snapshot_first": False}
    with pytest.raises(Refused, match="older is what the file is taken from"):
        warden.draft("file_restore", **wish, snapshot_first=True, instead=["older"])
    older(warden, "later")
    TenantPlan.objects.update(snapshots=3)
    assert asked(warden, www1, **wish) == wish | {"snapshot_first": True, "instead": ["later"]}
    TenantPlan.objects.update(snapshots=9)
    older(warden, "last")
    warden.write("/jail/www1/srv/page", "newest")
    operation = warden.do("file_restore", **wish, snapshot_first=True)
    assert (operation.status, operation.error) == ("done", "")
    assert listed(warden)[:4] == ["monday", "older", "later", "last"]  # more may be wanted of the oldest


def test_what_waits_for_its_snapshot_counts_in_the_plan(warden, www1):
    operation = warden.confirm("file_restore", **restore(www1, snapshot_first=True))
    assert plans.use(www1.tenant).snapshots == 2 and plans.use(www1.tenant, but=operation.pk).snapshots == 1


def test_only_where_something_can_be_lost_and_nobody_said_otherwise(warden, www1, plain_warden):
    keys = {"jail": str(www1.uuid), "login": "web", "person": 1, "sshd": False}
    for kind, wish in (
        ("file_restore", restore(www1, how="beside")),
        ("file_restore", restore(www1, snapshot_first=False)),
        ("keys_change", keys | {"keys": []}),
        ("jail_change", {"jail": str(www1.uuid)}),
        ("jail_rollback", {"jail": str(www1.uuid), "snapshot": "monday"}),
    ):
        assert asked(warden, www1, kind, **wish) == wish
    assert asked(warden, www1, "keys_change", **keys, keys=["SHA256:x"])["snapshot_first"] is True
    assert asked(warden, www1, "drift_repair", jail=str(www1.uuid), parameters=None)["snapshot_first"] is True
    on_ufs = plain_warden.make("www2", start=False)
    wish = keys | {"jail": str(on_ufs.uuid), "keys": ["SHA256:x"]}
    assert snapshots.ask_first("keys_change", wish, on_ufs, list) == wish


def test_before_keys_go_in_and_old_ones_go_before_the_last_step(warden, www1):
    """Behind the step that puts keys in nothing may fail: it would leave them there without a row."""
    TenantPlan.objects.update(snapshots=9)
    older(warden, "cellblock-before-restore-1", "a", "b", "c")
    for key in KEYS[:1]:
        SshKey.objects.create(
            user=warden.user, name=key.comment, type=key.type, body=key.body, fingerprint=key.fingerprint
        )
    Jail.objects.filter(pk=www1.pk).update(tenant=None)
    wish = {"jail": str(www1.uuid), "login": "web", "person": warden.user.pk, "sshd": False}
    wish |= {"keys": [KEYS[0].fingerprint], "snapshot_first": True}
    operation = lifecycle.draft("keys_change", wish, host=warden.row, user=warden.user)
    operation = lifecycle.confirm(operation, operation.digest, user=warden.user)
    assert warden.work(operation) == "done", operation.error
    keys = [step.data["key"] for step in operation.steps.order_by("index")]
    assert keys == ["drop-a", "snapshot-before", "login", "keys"]
    assert listed(warden) == [
        "monday",
        "cellblock-before-restore-1",
        "b",
        "c",
        f"cellblock-before-keys-{str(operation.pk)[:8]}",
    ]
