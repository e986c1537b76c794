"""Fetching a release: verified by digests somebody vouches for, real with the last step, and nothing left otherwise."""

import contextlib
import functools
import http.server
import threading
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied

from jails.freebsd.manifest import TRUSTED_MANIFESTS
from jails.hosts.simulated import mirror
from jails.models import AuditEntry, Host, Operation, Release, TrustedManifest, User
from jails.operations import engine, lifecycle, release_fetch
from jails.operations.kind import Refused
from tests.operations.meddling import Meddling
from tests.operations.world import MIRROR, RELEASE, World, transcript

Status = Operation.Status
UNKNOWN = "14.1-RELEASE"
WISH = {"release": RELEASE, "architecture": "amd64", "source": MIRROR}
UNKNOWN_WISH = {"release": UNKNOWN, "architecture": "amd64", "source": f"/mirror/amd64/{UNKNOWN}"}
PATH = "/var/db/cellblock/releases/14.2-RELEASE-amd64"
DATASET = "zroot/cellblock/releases/14.2-RELEASE-amd64"


def mirror_folder(world, release=RELEASE):
    return world.simulation.directory / f"root/mirror/amd64/{release}"


@contextlib.contextmanager
def served(folder, handler=http.server.SimpleHTTPRequestHandler):
    """A mirror over http on this machine: its URL."""
    quiet = type("Quiet", (handler,), {"log_message": lambda *args: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


# What comes of it


def test_on_zfs_it_is_a_dataset_that_its_snapshot_makes_real(world):
    operation = world.done("release_fetch", **WISH)
    release = Release.objects.get()
    assert (release.state, release.storage, release.dataset) == (Release.State.READY, "zfs", DATASET)
    assert (release.snapshot, release.path) == (f"{DATASET}@cellblock", PATH)
    assert release.manifest_digest == mirror.manifest_digest() and release.source == MIRROR and release.used > 0
    assert release.operation is None
    assert world.value(DATASET, "cellblock:operation") == str(operation.pk)
    assert world.value(release.snapshot, "cellblock:operation") == str(operation.pk)
    assert world.value(DATASET, "mountpoint") == PATH and PATH in world.mounts()
    assert world.exists(f"{PATH}/bin/sh") and world.exists(f"{PATH}/etc/master.passwd")
    assert world.list("/var/db/cellblock/releases") == ["14.2-RELEASE-amd64"]


def test_on_ufs_it_is_the_verified_archive(ufs_world):
    ufs_world.done("release_fetch", **WISH)
    release = Release.objects.get()
    assert (release.state, release.storage, release.dataset, release.path) == ("ready", "ufs", "", PATH)
    assert sorted(ufs_world.list(PATH)) == ["MANIFEST", "base.txz"]
    assert release.used == (mirror_folder(ufs_world) / "base.txz").stat().st_size
    assert ufs_world.list("/var/db/cellblock/releases") == ["14.2-RELEASE-amd64"]
    assert ufs_world.mode("/var/db/cellblock") == "700"


def test_a_refresh_finds_it_there_and_later_gone(world):
    world.done("release_fetch", **WISH)
    world.refresh()
    assert Release.objects.get().state == Release.State.READY
    world.sh(f"zfs destroy {DATASET}@cellblock")
    world.refresh()
    assert Release.objects.get().state == Release.State.MISSING


@pytest.mark.parametrize("form", ["file", "http"])
def test_from_a_url(ufs_world, form):
    folder = mirror_folder(ufs_world)
    with served(folder) as url:
        source = f"file://{MIRROR}/" if form == "file" else url
        ufs_world.done("release_fetch", **{**WISH, "source": source})
    assert Release.objects.get().source == source


def test_its_progress_is_shown_in_bytes(committed, ufs_world):
    ufs_world.fault(fetch={"rate": 60_000})
    operation = ufs_world.confirm("release_fetch", **WISH)
    timing = engine.Timing(heartbeat=3600, progress=0.1, patience=1, poll=0.02, backoff=0, output=0)
    ufs_world.work(operation, timing=timing)
    assert operation.status == Status.DONE, transcript(operation)
    row = operation.steps.get(data__key="archive")
    size = (mirror_folder(ufs_world) / "base.txz").stat().st_size
    assert (row.progress, row.progress_total) == (size, size)


def test_a_mirror_that_tells_no_size(ufs_world):
    class Silent(http.server.SimpleHTTPRequestHandler):
        def send_header(self, keyword, value):
            if keyword.lower() != "content-length":
                super().send_header(keyword, value)

    with served(mirror_folder(ufs_world), Silent) as url:
        operation = ufs_world.done("release_fetch", **{**WISH, "source": url})
    row = operation.steps.get(data__key="archive")
    assert row.progress_total is None and row.progress > 0


# What is damaged leaves nothing


def spoil(path: Path, at: int = -1000) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize("storage", ["zfs", "ufs"])
@pytest.mark.parametrize(
    ("file", "damage", "purpose"),
    [
        ("base.txz", spoil, "See that base.txz is whole"),
        ("base.txz", cut, "See that base.txz is whole"),
        ("MANIFEST", lambda path: spoil(path, 20), "See that MANIFEST is the one that is trusted"),
        ("MANIFEST", lambda path: path.write_text(""), "See that MANIFEST is the one that is trusted"),
        ("base.txz", Path.unlink, "Ask for the size of base.txz"),
    ],
)
def test_what_is_damaged_is_refused_and_leaves_nothing(request, storage, file, damage, purpose):
    world = request.getfixturevalue("world" if storage == "zfs" else "ufs_world")
    damage(mirror_folder(world) / file)
    before = world.picture()
    operation = world.undone("release_fetch", **WISH)
    assert purpose in operation.error, operation.error
    assert world.picture() == before and not Release.objects.exists()


def test_a_download_that_breaks_off_is_refused_and_leaves_nothing(world):
    before = world.picture()
    operation = world.confirm("release_fetch", **WISH)
    world.fault(fetch={"truncate": 5000})
    assert world.work(operation) == Status.FAILED
    assert "truncated" in operation.error
    world.fault()
    assert world.picture() == before and not Release.objects.exists()


def test_a_download_that_broke_off_once_is_tried_again(ufs_world):
    operation = ufs_world.confirm("release_fetch", **WISH)
    ufs_world.fault(match="fetch -q -T 60 -o /var/db", fail={"nth": 2, "rc": 1, "stderr": "reset"})
    assert ufs_world.work(operation) == Status.DONE, transcript(operation)


@pytest.mark.parametrize("match", ["tar --numeric-owner", "zfs snapshot", "zfs create -o cellblock:operation"])
def test_what_breaks_later_leaves_nothing(world, match):
    world.done("host_setup", reserve=False)
    before = world.picture()
    operation = world.confirm("release_fetch", **WISH)
    world.fail(match)
    assert world.work(operation) == Status.FAILED and "it resists" in operation.error
    world.fault()
    assert world.picture() == before and not Release.objects.exists()


def test_unpacking_that_is_cut_off_leaves_nothing(world):
    before = world.picture()
    operation = world.confirm("release_fetch", **WISH)
    world.fault(match="tar --numeric-owner", cut={})
    assert world.work(operation) == Status.FAILED
    world.fault()
    assert world.picture() == before


# Whom to trust


def test_a_release_that_nobody_vouched_for_is_only_looked_at(world):
    mirror.make_mirror(world.simulation.directory / "root/mirror", UNKNOWN)
    before = world.picture()
    operation = world.done("release_fetch", **UNKNOWN_WISH)
    offer = TrustedManifest.objects.get()
    assert offer.digest == mirror.manifest_digest(UNKNOWN) and not offer.is_confirmed and offer.simulated
    assert (offer.release, offer.architecture, offer.host_name) == (UNKNOWN, "amd64", world.row.name)
    assert not Release.objects.exists() and operation.title == f"Read MANIFEST of {UNKNOWN}"
    assert world.datasets() == ["zroot"] and world.list("/var/db/cellblock/releases") == []
    world.sh("rmdir /var/db/cellblock/releases /var/db/cellblock")
    assert world.picture() == before


def test_never_on_first_use(world):
    mirror.make_mirror(world.simulation.directory / "root/mirror", UNKNOWN)
    for _ in range(2):
        world.done("release_fetch", **UNKNOWN_WISH)
        assert not Release.objects.exists()
    assert TrustedManifest.objects.count() == 1


def test_once_an_administrator_has_confirmed_it_it_is_fetched(world, admin):
    mirror.make_mirror(world.simulation.directory / "root/mirror", UNKNOWN)
    world.done("release_fetch", **UNKNOWN_WISH)
    offer = TrustedManifest.objects.get()
    release_fetch.trust(offer, admin, offer.digest, source="192.0.2.9")
    entry = AuditEntry.objects.get(action="release.trust")
    assert (entry.outcome, entry.actor, entry.source) == ("done", "ada", "192.0.2.9")
    assert entry.after["digest"] == offer.digest and entry.object_name == f"MANIFEST of {UNKNOWN} amd64"
    world.done("release_fetch", **UNKNOWN_WISH)
    assert Release.objects.get().manifest_digest == offer.digest


def test_what_the_mirror_shows_later_is_held_to_what_was_confirmed(world, admin):
    mirror.make_mirror(world.simulation.directory / "root/mirror", UNKNOWN)
    world.done("release_fetch", **UNKNOWN_WISH)
    offer = TrustedManifest.objects.get()
    release_fetch.trust(offer, admin, offer.digest)
    spoil(mirror_folder(world, UNKNOWN) / "MANIFEST", 20)
    world.undone("release_fetch", **UNKNOWN_WISH)
    assert not Release.objects.exists()


@pytest.fixture
def offer(db):
    return TrustedManifest.objects.create(
        release=UNKNOWN, architecture="amd64", digest="a" * 64, simulated=True, source="http://x/", host_name="warden1"
    )


@pytest.mark.parametrize("role", [User.Role.OPERATOR, User.Role.AUDITOR, User.Role.NONE])
def test_only_administrators_vouch(offer, role):
    user = User.objects.create_user("bob", role=role)
    with pytest.raises(PermissionDenied):
        release_fetch.trust(offer, user, offer.digest)
    assert AuditEntry.objects.get(action="release.trust").outcome == "refused"
    assert not TrustedManifest.objects.get().is_confirmed


def test_what_was_not_shown_cannot_be_confirmed(offer, admin):
    with pytest.raises(Refused) as refused:
        release_fetch.trust(offer, admin, "b" * 64)
    assert list(refused.value.errors) == ["digest"] and not TrustedManifest.objects.get().is_confirmed
    assert not AuditEntry.objects.exists()


def test_one_manifest_a_release(offer, admin):
    other = TrustedManifest.objects.create(
        release=UNKNOWN, architecture="amd64", digest="b" * 64, simulated=True, source="http://y/", host_name="warden1"
    )
    release_fetch.trust(offer, admin, offer.digest)
    with pytest.raises(Refused, match="trusted already"):
        release_fetch.trust(other, admin, other.digest)


def test_a_row_that_no_log_knows_counts_for_nothing(offer, admin, host):
    TrustedManifest.objects.update(confirmed_by=admin, confirmed_at="2026-01-01T00:00:00Z")
    assert release_fetch.trusted_digest(host, UNKNOWN, "amd64") == ""
    TrustedManifest.objects.update(confirmed_by=None, confirmed_at=None)
    release_fetch.trust(offer, admin, offer.digest)
    assert release_fetch.trusted_digest(host, UNKNOWN, "amd64") == "a" * 64
    TrustedManifest.objects.update(digest="c" * 64)
    assert release_fetch.trusted_digest(host, UNKNOWN, "amd64") == ""


@pytest.mark.parametrize("kind", [Host.Kind.SSH, Host.Kind.LOCAL])
def test_what_counts_on_simulated_hosts_counts_nowhere_else(offer, admin, host, kind):
    release_fetch.trust(offer, admin, offer.digest)
    real = Host(name="real", kind=kind)
    assert release_fetch.trusted_digest(host, UNKNOWN, "amd64") == "a" * 64
    assert release_fetch.trusted_digest(real, UNKNOWN, "amd64") == ""
    assert release_fetch.trusted_digest(real, RELEASE, "amd64") == TRUSTED_MANIFESTS[RELEASE, "amd64"]
    assert release_fetch.trusted_digest(host, RELEASE, "amd64") == mirror.manifest_digest(RELEASE)
    assert mirror.manifest_digest(RELEASE) not in TRUSTED_MANIFESTS.values()


def test_an_offer_is_stale_once_somebody_has_vouched(world, admin):
    mirror.make_mirror(world.simulation.directory / "root/mirror", UNKNOWN)
    world.done("release_fetch", **UNKNOWN_WISH)
    operation = world.confirm("release_fetch", **UNKNOWN_WISH)
    offer = TrustedManifest.objects.get()
    release_fetch.trust(offer, admin, offer.digest)
    assert world.work(operation) == Status.STALE
    lifecycle.accept_new_plan(operation, operation.digest, user=admin)
    assert Release.objects.get().state == Release.State.PENDING
    assert world.work(operation) == Status.DONE and Release.objects.get().state == Release.State.READY


# What cannot be


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"release": "14.3-RELEASE"}, "release"),
        ({"release": "15.0-RELEASE"}, "release"),
        ({"architecture": "arm64"}, "architecture"),
    ],
)
def test_what_this_host_cannot_run_is_refused(world, wish, field):
    with pytest.raises(Refused) as refused:
        world.draft("release_fetch", **{**WISH, **wish})
    assert list(refused.value.errors) == [field]


HOSTILE = [
    "",
    "x; rm -rf /",
    "$(id)",
    "a\nb",
    "a\0b",
    "../../etc",
    "“x”",
    "x" * 3000,
    "-o/etc/passwd",
    " ",
    "аmd64",
    7,
    None,
    [],
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize("field", sorted(WISH))
def test_hostile_values_are_refused_by_name(field, value):
    with pytest.raises(Refused) as refused:
        release_fetch.kind.clean({**WISH, field: value})
    assert list(refused.value.errors) == [field]


@pytest.mark.parametrize(
    "source",
    [
        "ftp://x/y",
        "http://u:p@x/y",
        "http://x/../y",
        "file://x/y",
        "http:///y",
        "/a/../b",
        "/a b",
        "/a//b",
        "http://x/$y",
    ],
)
def test_sources_that_are_none(source):
    with pytest.raises(Refused) as refused:
        release_fetch.kind.clean({**WISH, "source": source})
    assert list(refused.value.errors) == ["source"]


def test_what_is_there_already_is_refused(world):
    world.done("release_fetch", **WISH)
    with pytest.raises(Refused, match=r"has 14\.2-RELEASE for amd64 already"):
        world.draft("release_fetch", **WISH)
    Release.objects.all().delete()
    with pytest.raises(Refused, match="no release of this panel"):
        world.draft("release_fetch", **WISH)


def test_a_path_of_somebody_else_is_refused(ufs_world):
    ufs_world.sh(f"mkdir -p {PATH}")
    with pytest.raises(Refused, match="no release of this panel"):
        ufs_world.draft("release_fetch", **WISH)


def test_too_little_space_is_refused(world):
    world.sh("zfs create -o reservation=9G -o mountpoint=none zroot/full")
    with pytest.raises(Refused, match="MiB left"):
        world.draft("release_fetch", **WISH)


def test_of_two_at_once_one_is_confirmed(world, admin):
    first, second = world.draft("release_fetch", **WISH), world.draft("release_fetch", **WISH)
    lifecycle.confirm(first, first.digest, user=admin)
    with pytest.raises(Refused):
        lifecycle.confirm(second, second.digest, user=admin)
    lifecycle.cancel(first, user=admin)
    assert not Release.objects.exists()
    lifecycle.confirm(second, second.digest, user=admin)


def test_an_end_of_life_is_told(world):
    notes = world.draft("release_fetch", **WISH).plan["notes"]
    assert notes == ["FreeBSD 14.2-RELEASE has had no security fixes since 2025-09-30."]


# Somebody makes the same by hand meanwhile


BY_HAND = f"""
zfs list {DATASET} >/dev/null 2>&1 || {{
zfs create -p -o mountpoint=none zroot/cellblock/releases 2>/dev/null
zfs create -o mountpoint=/mine {DATASET} && echo precious >/mine/file
}}
[ -e {PATH} ] || {{ mkdir -p {PATH} && echo precious >{PATH}/file; }}
true"""
PRECIOUS = ("/mine/file", f"{PATH}/file")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_made_by_hand_before_any_step_is_left_alone(world):
    """Dataset and path, each where it is not there yet: never adopted, overwritten or removed."""
    folder, disturbed = world.simulation.directory, 0
    for number in range(1, 50):
        other = World(folder, folder.with_name(f"copy{number}"), world.user, name=f"host{number}")
        meddling = Meddling(other.connection, number, lambda other=other: other.sh(BY_HAND))
        operation = other.confirm("release_fetch", **WISH)
        other.work(operation, connect=lambda host, meddling=meddling: meddling)
        kept = [path for path in PRECIOUS if other.exists(path)]
        if kept:
            disturbed += 1
            assert operation.status == Status.FAILED, (number, transcript(operation))
            assert all(other.read(path) == "precious\n" for path in kept), number
            assert other.exists(PATH) == (f"{PATH}/file" in kept), number
            assert (DATASET in other.datasets()) == ("/mine/file" in kept), number
            assert not Release.objects.filter(host=other.row).exists()
            assert [name for name in other.list("/var/db/cellblock/releases") if name.startswith(".")] == []
        else:
            assert operation.status == Status.DONE, (number, transcript(operation))
        if not meddling.done:
            break
    assert disturbed >= 8 and number > 15
