"""Fetch a FreeBSD release onto a host: verified, unpacked, and real only with its last step.

MANIFEST is trusted by its digest: of the table in jails.freebsd.manifest, or confirmed by an administrator who compared
it (`trust`). For a release that is in neither, the operation only reads MANIFEST and shows its digest. What the mirror
of the demo has is trusted on simulated hosts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from jails import audit, policy
from jails.freebsd import fetch, files, manifest, names, tar, uname, zfs
from jails.hosts.facts import RELEASES, HostFacts
from jails.models import AuditEntry, Host, HostFactsRecord, Operation, Release, TrustedManifest, User
from jails.models.release import Storage
from jails.operations import checks, common, layout
from jails.operations.kind import Kind, Refused, Request
from jails.operations.step import Plan, Run, Step, Undo
from jails.operations.wish import Wish

ARCHIVE = "base.txz"
ARCHIVE_SPACE = 256 << 20
TREE_SPACE = 1 << 30
"""Bytes that base.txz, and what is in it, take at most: 14.2 has 200 MB and 1 GB, which ZFS compresses."""
FETCH_SECONDS = 6 * 3600
UNPACK_SECONDS = 3600
DIGEST_SECONDS = 900
OFFER, FETCH = "offer", "fetch"


class ReleaseFetch(Kind):
    name = "release_fetch"
    action = "release.fetch"

    def title(self, parameters: Mapping[str, Any], host: Host) -> str:
        return f"Fetch {parameters['release']} for {host.name}"

    def clean(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        wish = Wish(parameters)
        cleaned = {
            "release": wish.text("release", names.release_error),
            "architecture": wish.text("architecture", names.arch_error),
            "source": wish.text("source", fetch.source_error),
        }
        wish.refuse_wrong()
        return cleaned

    def plan(self, request: Request) -> Plan:
        wish, host, facts = request.parameters, request.host, request.facts
        release, architecture = wish["release"], wish["architecture"]
        notes = _fits(facts, host, release, architecture)
        row = row_of(host, facts, release, architecture)
        _refuse_present(request, row)
        digest = trusted_digest(host, release, architecture)
        if not digest:
            return _offer(request)
        _require_space(facts, row)
        steps = _fetched(request, row, digest)
        real = _on_zfs(request, row) if row.storage == Storage.ZFS else _on_ufs(request, row)
        return Plan(
            title=self.title(wish, host),
            steps=common.each_once((*steps, *real)),
            summary=(
                f"{ARCHIVE} of {wish['source']} becomes {row.dataset or row.path}.",
                f"MANIFEST must have the SHA-256 {digest}.",
            ),
            notes=notes,
            resources=(layout.release_lock(host, release, architecture),),
            result=(
                ("mode", FETCH),
                ("digest", digest),
                ("storage", row.storage),
                ("dataset", row.dataset),
                ("path", row.path),
            ),
        )

    def noted(self, operation: Operation, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, dict(operation.parameters)

    def reserve(self, operation: Operation) -> None:
        if _mode(operation.plan) != FETCH:
            return
        wish, host = operation.parameters, operation.host
        assert host is not None
        wanted = {"host": host, "name": wish["release"], "architecture": wish["architecture"]}
        path = layout.release_path(wish["release"], wish["architecture"])
        row = Release.objects.select_for_update().filter(**wanted).first()
        if row is None:
            row = Release(**wanted, storage=Storage.UFS, path=path)
        elif row.state != Release.State.MISSING:
            raise Refused({"release": f"{host.name} has {row.name} already ({row.get_state_display().lower()})."})
        row.state, row.operation, row.source = Release.State.PENDING, operation, wish["source"]
        row.save()

    def finish(self, operation: Operation, plan: Plan) -> None:
        if dict(plan.result)["mode"] == OFFER:
            _store_offer(operation)
            return
        made = dict(plan.result)
        row = Release.objects.get(operation=operation)
        row.storage, row.dataset, row.path = made["storage"], made["dataset"], made["path"]
        row.snapshot = layout.snapshot_of(row.dataset) if row.dataset else ""
        row.manifest_digest, row.used = made["digest"], _used(operation, row)
        row.state, row.operation = Release.State.READY, None
        row.save()

    def release(self, operation: Operation) -> None:
        rows = Release.objects.filter(operation=operation, state=Release.State.PENDING)
        # One that was there once, and has jails that descend from it, is missing again.
        rows.filter(Q(jails__isnull=False) | Q(templates__isnull=False)).update(
            state=Release.State.MISSING, operation=None
        )
        rows.delete()


def row_of(host: Host, facts: HostFacts, release: str, architecture: str) -> Release:
    """A release as it will be on this host, not saved: on ZFS where it has a pool."""
    pool = layout.pool_of(host, facts)
    dataset = layout.release_dataset(pool, release, architecture) if pool else ""
    return Release(
        host=host,
        name=release,
        architecture=architecture,
        storage=Storage.ZFS if pool else Storage.UFS,
        dataset=dataset,
        snapshot=layout.snapshot_of(dataset) if pool else "",
        path=layout.release_path(release, architecture),
    )


# Whom to trust


def trusted_digest(host: Host, release: str, architecture: str) -> str:
    """The SHA-256 that MANIFEST must have, or "" where nobody has vouched for one.

    What counts on simulated hosts counts nowhere else.
    """
    simulated = host.kind == Host.Kind.SIMULATED
    if simulated:
        from jails.hosts.simulated import mirror

        if release in mirror.RELEASES and architecture == mirror.ARCHITECTURE:
            return mirror.manifest_digest(release)
    known = manifest.TRUSTED_MANIFESTS.get((release, architecture), "")
    return known or _confirmed_digest(release, architecture, simulated=simulated)


def _confirmed_digest(release: str, architecture: str, *, simulated: bool) -> str:
    row = TrustedManifest.objects.filter(
        release=release, architecture=architecture, simulated=simulated, confirmed_at__isnull=False
    ).first()
    return row.digest if row is not None and _is_in_the_log(row) else ""


def _is_in_the_log(row: TrustedManifest) -> bool:
    """A row alone proves nothing: whoever confirmed it is in the log, which nobody changes unseen."""
    return AuditEntry.objects.filter(
        action="release.trust",
        outcome="done",
        object_type="trustedmanifest",
        object_id=str(row.pk),
        after__digest=row.digest,
        after__release=row.release,
        after__architecture=row.architecture,
        after__simulated=row.simulated,
    ).exists()


def trust(row: TrustedManifest, user: User, digest: str, source: str = "") -> TrustedManifest:
    """An administrator has compared the digest that was offered, and vouches for it. Raises Refused, PermissionDenied.

    `digest` is what the person saw. `source`: where the request came from, for the log.
    """
    facts = {
        "release": row.release,
        "architecture": row.architecture,
        "digest": row.digest,
        "source": row.source,
        "simulated": row.simulated,
    }
    if not policy.allowed(user, "release.trust"):
        with transaction.atomic():
            audit.record(
                "release.trust", actor=user, outcome="refused", obj=row, host=row.host_name, after=facts, source=source
            )
        raise PermissionDenied("Only an administrator may vouch for a MANIFEST.")
    try:
        with transaction.atomic():
            current = TrustedManifest.objects.select_for_update().get(pk=row.pk)
            if current.digest != digest:
                raise Refused({"digest": "It is not the digest that was offered: look at it again."})
            if current.is_confirmed:
                return current
            current.confirmed_by, current.confirmed_at = user, timezone.now()
            current.save()
            audit.record("release.trust", actor=user, obj=current, host=row.host_name, after=facts, source=source)
            return current
    except IntegrityError as error:
        raise Refused(f"Another MANIFEST of {row.release} for {row.architecture} is trusted already.") from error


def _store_offer(operation: Operation) -> None:
    host, wish = operation.host, operation.parameters
    assert host is not None
    captured = operation.steps.filter(data__key="digest").values_list("captured", flat=True).get()
    TrustedManifest.objects.update_or_create(
        release=wish["release"],
        architecture=wish["architecture"],
        digest=captured["manifest_digest"],
        simulated=host.kind == Host.Kind.SIMULATED,
        defaults={"source": wish["source"], "host_name": host.name, "offered_at": timezone.now()},
    )


# Whether it can be


def _fits(facts: HostFacts, host: Host, release: str, architecture: str) -> tuple[str, ...]:
    """Raises Refused where this host could not run it. Notes for people."""
    facts.require("identity", "version", "names", "mounts")
    if architecture != facts.architecture:
        raise Refused({"architecture": f"{host.name} is {facts.architecture}: it cannot run {architecture}."})
    if not uname.userland_not_newer(uname.Release.parse(facts.kernel), uname.Release.parse(release)):
        raise Refused({"release": f"{release} is newer than {host.name}, which runs {facts.kernel}."})
    return end_of_life_notes(release)


def end_of_life_notes(release: str) -> tuple[str, ...]:
    end = uname.eol_of(release)
    if end is None or end >= timezone.now().date():
        return ()
    return (f"FreeBSD {release} has had no security fixes since {end}.",)


def _refuse_present(request: Request, row: Release) -> None:
    host, facts = request.host, request.facts
    where = f"{row.name} for {row.architecture}"
    others = Release.objects.filter(host=host, name=row.name, architecture=row.architecture)
    other = others.exclude(operation=UUID(request.operation_id)).exclude(state=Release.State.MISSING).first()
    if other is not None:
        state = other.get_state_display().lower()
        raise Refused({"release": f"{host.name} has {where} already ({state})."})
    if facts.exists(RELEASES, f"{row.name}-{row.architecture}"):
        raise Refused({"release": f"{row.path} is there on {host.name} already, and no release of this panel."})
    if row.dataset and facts.dataset(row.dataset) is not None:
        raise Refused({"release": f"{row.dataset} is there on {host.name} already, and no release of this panel."})


def _require_space(facts: HostFacts, row: Release) -> None:
    needed = {"/var/db": ARCHIVE_SPACE}
    if row.dataset:
        needed[row.dataset.partition("/")[0]] = TREE_SPACE
    for place, size in needed.items():
        free = facts.free_bytes(place)
        if free < size:
            raise Refused({"release": f"{place} has {free >> 20} MiB left; a release needs {size >> 20} MiB there."})


# Steps


def _draft(row: Release, operation_id: str) -> str:
    return layout.draft_path(row.path, operation_id)


def _remove_draft(row: Release, operation_id: str) -> tuple[Undo, ...]:
    """Its name has the operation's id: whatever is there is this operation's."""
    draft = _draft(row, operation_id)
    return (Undo(Run((files.remove_tree(draft),)), only_if=(checks.path_exists(draft),)),)


def _read_manifest(request: Request, row: Release) -> tuple[Step, ...]:
    """A folder for what is fetched, and MANIFEST in it."""
    draft = _draft(row, request.operation_id)
    undo = _remove_draft(row, request.operation_id)
    url = fetch.url_of(request.parameters["source"], "MANIFEST")
    return (
        *common.ensure_bases(request.host, request.operation_id, RELEASES),
        Step(
            key="draft",
            purpose="Make a folder for what is fetched",
            action=Run((files.make_directory(draft, mode="0700"),)),
            done_when=(checks.directory_exists(draft),),
            undo=undo,
            seconds=30,
        ),
        Step(
            key="manifest",
            purpose="Fetch MANIFEST, which lists the files of the release with their digests",
            action=Run((fetch.get(url, f"{draft}/MANIFEST"),)),
            undo=undo,
            seconds=300,
            attempts=2,
        ),
    )


def _offer(request: Request) -> Plan:
    """Read MANIFEST and show its digest: nothing is fetched that nobody has vouched for."""
    host, wish = request.host, request.parameters
    row = row_of(host, request.facts, wish["release"], wish["architecture"])
    draft = _draft(row, request.operation_id)
    show = Step(
        key="show",
        purpose="Show MANIFEST",
        action=Run((("cat", f"{draft}/MANIFEST"),)),
        changes=False,
        seconds=30,
    )
    digest = Step(
        key="digest",
        purpose="Take its SHA-256, for somebody to compare",
        action=Run((files.digest(f"{draft}/MANIFEST"),), captures=(("manifest_digest", r"^([0-9a-f]{64})$"),)),
        changes=False,
        seconds=60,
    )
    release, architecture = wish["release"], wish["architecture"]
    return Plan(
        title=f"Read MANIFEST of {release}",
        steps=(*_read_manifest(request, row), show, digest, _clear_draft(draft)),
        summary=(
            f"Nobody has vouched for MANIFEST of {release} for {architecture} yet: only its digest is found out.",
            "An administrator compares it with the one that FreeBSD published, and confirms it.",
        ),
        resources=(layout.release_lock(host, release, architecture),),
        result=(("mode", OFFER),),
    )


def _fetched(request: Request, row: Release, digest: str) -> tuple[Step, ...]:
    draft = _draft(row, request.operation_id)
    undo = _remove_draft(row, request.operation_id)
    url = fetch.url_of(request.parameters["source"], ARCHIVE)
    archive, listed = f"{draft}/{ARCHIVE}", f"{draft}/MANIFEST"
    return (
        *_read_manifest(request, row),
        Step(
            key="trusted",
            purpose="See that MANIFEST is the one that is trusted",
            action=Run((manifest.compare(digest, listed),)),
            changes=False,
            seconds=60,
        ),
        Step(
            key="listed",
            purpose=f"Read the digest of {ARCHIVE} from MANIFEST",
            action=Run((("cat", listed),), captures=(("base_digest", rf"^{ARCHIVE}\t([0-9a-f]{{64}})\t"),)),
            changes=False,
            seconds=30,
        ),
        Step(
            key="size",
            purpose=f"Ask for the size of {ARCHIVE}",
            action=Run((fetch.size(url),), captures=(("base_size", r"^([0-9]+|Unknown)$"),)),
            changes=False,
            seconds=300,
            attempts=2,
        ),
        Step(
            key="archive",
            purpose=f"Fetch {ARCHIVE}",
            action=Run((fetch.get(url, archive),)),
            undo=undo,
            again=(Undo(Run((files.remove_file(archive),))),),
            seconds=FETCH_SECONDS,
            attempts=2,
            progress=archive,
            progress_of="base_size",
        ),
        Step(
            key="digest",
            purpose=f"See that {ARCHIVE} is whole, as MANIFEST has it",
            action=Run((("sha256", "-c", "${base_digest}", archive),)),
            changes=False,
            seconds=DIGEST_SECONDS,
        ),
    )


def _clear_draft(draft: str) -> Step:
    return Step(
        key="clear",
        purpose="Remove what was fetched",
        action=Run((files.remove_tree(draft),)),
        done_when=(checks.path_absent(draft),),
        seconds=300,
    )


def _on_zfs(request: Request, row: Release) -> tuple[Step, ...]:
    """Unpacked into a dataset of its own, which the snapshot makes a release."""
    host, operation_id = request.host, request.operation_id
    pool, draft = row.dataset.partition("/")[0], _draft(row, request.operation_id)
    marks = {
        layout.OPERATION: operation_id,
        "cellblock:release": f"{row.name}-{row.architecture}",
        "cellblock:source": request.parameters["source"],
    }
    ours = checks.dataset_ours(row.dataset, operation_id)
    create = Run((zfs.create(row.dataset, marks),))
    destroy = Undo(Run((zfs.destroy(row.dataset),)), only_if=(ours,))
    create_again = Undo(create, only_if=(checks.dataset_absent(row.dataset),))
    real = checks.snapshot_ours(row.snapshot, operation_id)
    mark = {layout.OPERATION: operation_id}
    return (
        *common.ensure_bases(host, operation_id, RELEASES, pool=pool),
        *common.mount_point_steps(row.path, operation_id),
        Step(
            key="dataset",
            purpose="Make a dataset for the release",
            action=create,
            done_when=(ours, checks.mounted(row.path)),
            undo=(destroy,),
            again=(destroy,),
            seconds=60,
        ),
        Step(
            key="unpack",
            purpose=f"Unpack {ARCHIVE}",
            action=Run((tar.extract(f"{draft}/{ARCHIVE}", row.path),)),
            undo=(destroy,),
            # What is half unpacked has files that tar(1) cannot replace.
            again=(destroy, create_again),
            seconds=UNPACK_SECONDS,
        ),
        Step(
            key="snapshot",
            purpose="Make it real: jails are cloned from this snapshot",
            action=Run((zfs.snapshot(row.dataset, layout.SNAPSHOT, mark),)),
            done_when=(real,),
            undo=(Undo(Run((zfs.destroy(row.snapshot),)), only_if=(real,)),),
            seconds=60,
        ),
        _clear_draft(draft),
    )


def _on_ufs(request: Request, row: Release) -> tuple[Step, ...]:
    """Kept as it was verified; each jail is unpacked from it."""
    return common.move_steps(
        _draft(row, request.operation_id),
        row.path,
        purpose="Make it real: jails are unpacked from it",
        capture="release",
        undo=(Run((files.remove_tree(row.path),)),),
    )


# Afterwards


def _mode(plan: Any) -> str:
    """Of a plan as it is stored."""
    return str(dict(plan["result"]).get("mode", ""))


def _used(operation: Operation, row: Release) -> int:
    """Bytes: on UFS of the archive, as its mirror said."""
    if row.dataset:
        record = HostFactsRecord.objects.filter(host=row.host).first()
        datasets = HostFacts.from_data(record.data).datasets if record is not None else ()
        return next((dataset.used for dataset in datasets if dataset.name == row.dataset), 0)
    captured = operation.steps.filter(data__key="size").values_list("captured", flat=True).first() or {}
    size = str(captured.get("base_size", ""))
    return int(size) if size.isdigit() else 0


kind = ReleaseFetch()
