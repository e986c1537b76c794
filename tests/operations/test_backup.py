"""Losing the panel: a backup is whole or refused, and a panel that is as it says does nothing by itself."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
import zipfile
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from jails import audit, checkpoints, tasks
from jails.backup import archive, keyfiles, tables, whole
from jails.hosts import keys
from jails.models import (
    Address,
    AuditEntry,
    AuditHead,
    Host,
    HostFactsRecord,
    Invitation,
    Jail,
    Membership,
    Network,
    Operation,
    OperationStep,
    ResourceLock,
    Tenant,
    User,
    Worker,
)
from jails.operations import engine, lifecycle, seal

Status = Operation.Status
HOSTILE = "☃ 'quoted' \"twice\"\n\t\\x %s ; DROP TABLE jails_host; --"


@pytest.fixture(autouse=True)
def worker_folder(settings, tmp_path):
    folder = tmp_path / "worker"
    settings.WORKER_DIR, settings.WORKER_KEY_FILE = folder, folder / "seal.key"
    settings.AUDIT_KEY_FILE = folder / "audit-signing.key"
    settings.AUDIT_CHECKPOINTS = folder / "audit-checkpoints.jsonl"
    seal._key.cache_clear()
    folder.mkdir(mode=0o700)
    seal.key()
    keys.private_key()
    yield folder
    seal._key.cache_clear()


@pytest.fixture
def panel(db):
    """One of each kind of row, with what databases store differently."""
    ada = User.objects.create_user("ada", password="correct horse", role=User.Role.ADMINISTRATOR)
    acme = Tenant.objects.create(slug="acme", name=HOSTILE[:90])
    Membership.objects.create(tenant=acme, user=ada, role="owner")
    host = Host.objects.create(name="warden1", kind="simulated", booted_at=timezone.now(), memory=2**40)
    olga = User.objects.create_user("olga", role=User.Role.OPERATOR)
    olga.operated_hosts.add(host)
    HostFactsRecord.objects.create(
        host=host, data={"text": HOSTILE, "deep": [{"a": [1, 2.5, None, True]}]}, gathered_at=timezone.now()
    )
    jail = Jail.objects.create(
        host=host,
        name="www1",
        kind="thin",
        path="/jail/www1",
        managed=True,
        tenant=acme,
        state="running",
        limits={"quota": None},
    )
    lan = Network.objects.create(name="lan", cidr="2001:db8::/64")
    Address.objects.create(network=lan, ip="2001:db8::10", jail=jail, prefix=128)
    done = Operation.objects.create(
        kind="jail_start", title="Start", host=host, host_name="warden1", status="done", requested_by=ada
    )
    done.jails.add(jail)
    again = Operation.objects.create(
        kind="jail_start", title="Start", host=host, host_name="warden1", status="done", retry_of=done
    )
    OperationStep.objects.create(operation=again, index=0, data={"x": 1}, seal="0" * 64, output=HOSTILE)
    Invitation.issue(label="somebody", tenant=acme, tenant_role="member", created_by=ada)
    Worker.objects.create(name="default", seen_at=timezone.now() - timedelta(hours=1))
    with transaction.atomic():
        for number in range(3):
            audit.record("test.thing", actor=ada, obj=jail, after={"n": number, "text": HOSTILE}, detail=HOSTILE)
    return ada


def picture() -> dict[str, list[bytes]]:
    """All that a backup keeps but the log."""
    log = {"jails.AuditEntry", "jails.AuditHead"}
    return {model._meta.label: list(tables.rows_of(model)) for model in tables.kept() if model._meta.label not in log}


def backup(path: Path, *words: str) -> str:
    out = StringIO()
    call_command("backup", str(path), *words, stdout=out)
    return out.getvalue()


def restore(path: Path, *words: str) -> str:
    out = StringIO()
    call_command("restore", str(path), *words, stdout=out)
    return out.getvalue()


def lose_everything() -> None:
    """As a database that was just migrated."""
    whole._clear()


@pytest.fixture
def saved(panel, tmp_path):
    """A backup of the panel: its file, and a picture of what it kept."""
    path = tmp_path / "panel.backup"
    before = picture()
    backup(path)
    return path, before


# The same again


def test_a_panel_is_the_same_again(saved, worker_folder):
    path, before = saved
    entries = [audit.entry_hash(entry) for entry in AuditEntry.objects.filter(action="test.thing")]
    files = {file: file.read_bytes() for file in worker_folder.rglob("*") if file.is_file()}
    assert path.stat().st_mode & 0o777 == 0o600 and len(files) == 2
    lose_everything()
    shutil.rmtree(worker_folder)
    assert tables.is_empty()

    words = restore(path)
    assert "2 keys" in words and "drift" in words
    assert picture() == before
    assert {file: file.read_bytes() for file in files} == files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert [entry.hash for entry in AuditEntry.objects.filter(action="test.thing")] == entries
    assert audit.verify().ok
    last = AuditEntry.objects.first()
    assert last.action == "panel.restore" and last.after["checkpoint"].startswith("3:")
    assert User.objects.get(username="ada").check_password("correct horse")


def test_links_sessions_and_who_was_seen_are_not_in_it(saved, client):
    path, _ = saved
    client.force_login(User.objects.get(username="ada"), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/", follow=True).status_code == 200
    restore(path, "--replace")
    assert not Invitation.objects.exists() and not Worker.objects.exists()
    assert client.get("/").status_code == 302
    text = b"".join(zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist())
    assert b"somebody" not in text


def test_new_rows_get_new_numbers(saved):
    path, _ = saved
    last = Tenant.objects.order_by("pk").last().pk
    lose_everything()
    restore(path)
    assert Tenant.objects.create(slug="new", name="New").pk > last
    with transaction.atomic():
        audit.record("test.more", actor="x")
    assert audit.verify().ok


def test_the_log_stays_append_only(saved):
    path, _ = saved
    restore(path, "--replace")
    for statement in ("UPDATE jails_auditentry SET actor = 'eve'", "DELETE FROM jails_auditentry"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_every_model_is_kept_or_left_out_for_a_reason():
    """A new model is kept by itself; one that is gone must not stay in the lists."""
    known = {model._meta.label for model in tables._all()}
    assert tables.FORGOTTEN.keys() | tables.NOT_OURS.keys() <= known
    assert {"jails.Jail", "jails.AuditEntry", "jails.User_operated_hosts", "jails.Operation_jails"} <= {
        model._meta.label for model in tables.kept()
    }


# Refused


def test_a_used_panel_is_not_replaced_by_mistake(saved):
    path, before = saved
    Tenant.objects.create(slug="newer", name="Newer")
    end = AuditHead.objects.get().sequence
    with pytest.raises(CommandError, match="has been used"):
        restore(path)
    assert Tenant.objects.filter(slug="newer").exists()
    restore(path, "--replace")
    assert picture() == before
    assert AuditEntry.objects.first().before["sequence"] == end


def test_other_keys_are_kept_beside(saved, worker_folder):
    path, _ = saved
    mine = (worker_folder / "seal.key").read_bytes()
    (worker_folder / "seal.key").write_bytes(b"x" * 64)
    lose_everything()
    with pytest.raises(CommandError, match=r"other keys already \(.*seal.key\)"):
        restore(path)
    assert tables.is_empty()
    restore(path, "--replace")
    assert (worker_folder / "seal.key").read_bytes() == mine
    assert (worker_folder / "seal.key.before-restore").read_bytes() == b"x" * 64
    assert [name for name in keyfiles.found() if "before" in name] == []


def test_what_is_among_the_keys_and_no_part_of_backups_is_said(panel, tmp_path, worker_folder):
    folder = worker_folder / "ssh"
    odd = ["my key", ".hidden", "@x", "-rf", "sch\u00f6n", "a" * 102]
    for name in odd:
        (folder / name).write_bytes(b"k")
    (folder / "link").symlink_to(folder / "id_ed25519")
    (folder / "old").mkdir()
    (folder / "disk.img").write_bytes(b"x" * (keyfiles.LONGEST + 1))
    (folder / "other@warden1").write_bytes(b"k")
    err = StringIO()
    call_command("backup", str(tmp_path / "b"), stdout=StringIO(), stderr=err)
    said = [line for line in err.getvalue().splitlines() if line.startswith("Not in the backup: ")]
    assert len(said) == len(odd) + 3
    for name in (*odd, "link", "old", "disk.img"):
        assert any(f"/ssh/{name}: " in line for line in said), name

    lose_everything()
    shutil.rmtree(worker_folder)
    assert "3 keys" in restore(tmp_path / "b")
    assert sorted(path.name for path in folder.iterdir()) == ["id_ed25519", "other@warden1"]


@pytest.mark.parametrize("name", ["id_ed25519", "a", "_", "a" * 101, "a" * 102, "x y", ".x", "k.before-restore.3", "@"])
def test_what_is_packed_is_what_is_taken_back(worker_folder, name):
    path = worker_folder / "ssh" / name
    path.write_bytes(b"k")
    packed = f"{keyfiles.SSH}{name}" in keyfiles.found()
    try:
        assert keyfiles.place_of(f"{keyfiles.SSH}{name}") == path and packed
    except ValueError:
        assert not packed


def test_each_replaced_key_is_kept(saved, worker_folder):
    path, _ = saved
    for content in (b"first", b"second", b"third"):
        (worker_folder / "seal.key").write_bytes(content)
        restore(path, "--replace")
    assert [(worker_folder / f"seal.key.before-restore{end}").read_bytes() for end in ("", ".2", ".3")] == [
        b"first",
        b"second",
        b"third",
    ]
    (worker_folder / "ssh/id_ed25519").write_bytes(b"other")
    restore(path, "--replace")
    (worker_folder / "ssh/id_ed25519").write_bytes(b"another")
    restore(path, "--replace")
    assert sorted(keyfiles.found()) == [keyfiles.SEAL, f"{keyfiles.SSH}id_ed25519"] and not keyfiles.left_out()


def files_of(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


class RefusingAtCommit:
    @staticmethod
    @contextmanager
    def atomic():
        with transaction.atomic():
            yield
            raise DatabaseError("could not serialize access")


@pytest.mark.parametrize(
    ("fails_at", "there"),
    [(at, True) for at in ("draft", "link", "second link", "replace", "second replace", "commit")]
    + [(at, False) for at in ("draft", "replace", "second replace", "commit")],
)
def test_a_failure_half_way_leaves_keys_and_database_as_they_were(
    saved, worker_folder, monkeypatch, fails_at, there, tmp_path
):
    path, _ = saved
    if there:
        (worker_folder / "seal.key").write_bytes(b"mine")
        (worker_folder / "ssh/id_ed25519").write_bytes(b"my key")
    else:
        shutil.rmtree(worker_folder)
    Tenant.objects.create(slug="newer", name="Newer")
    before, files, end = picture(), files_of(tmp_path), AuditHead.objects.get().hash

    left = [1 if fails_at.startswith("second") else 0]

    def failing(real):
        def call(*arguments, **options):
            if ".before-restore" not in str(arguments[0]):
                left[0] -= 1
                if left[0] == -1:
                    raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        return call

    if fails_at == "draft":
        monkeypatch.setattr(os, "fsync", failing(os.fsync))
    elif "link" in fails_at:
        monkeypatch.setattr(os, "link", failing(os.link))
    elif "replace" in fails_at:
        monkeypatch.setattr(Path, "replace", failing(Path.replace))
    else:
        monkeypatch.setattr(whole, "transaction", RefusingAtCommit)
    with pytest.raises(CommandError, match=r"No space left|nothing was changed"):
        restore(path, "--replace")
    monkeypatch.undo()
    assert files_of(tmp_path) == files
    assert picture() == before and AuditHead.objects.get().hash == end
    assert "2 keys" in restore(path, "--replace")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.parametrize("lost", ["keys", "folder"])
def test_root_gives_the_keys_to_whom_the_folder_belongs(saved, worker_folder, lost):
    path, _ = saved
    shutil.rmtree(worker_folder)
    owned = worker_folder if lost == "keys" else worker_folder.parent
    owned.mkdir(mode=0o700, exist_ok=True)
    os.chown(owned, 12345, 23456)
    lose_everything()
    restore(path)
    for made in (worker_folder, *worker_folder.rglob("*")):
        status = made.stat()
        assert (status.st_uid, status.st_gid) == (12345, 23456), made
        assert status.st_mode & 0o777 == (0o700 if made.is_dir() else 0o600), made


def test_live_workers_are_not_restored_under(saved):
    path, _ = saved
    Worker.objects.update(seen_at=timezone.now())
    with pytest.raises(CommandError, match=r"Workers are running \(default\)"):
        restore(path, "--replace")
    Worker.objects.all().delete()
    Operation.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=30))
    with pytest.raises(CommandError, match="has an operation in hand"):
        restore(path, "--replace")


def test_no_file_is_overwritten(saved):
    path, _ = saved
    content = path.read_bytes()
    with pytest.raises(CommandError, match="is there already"):
        backup(path)
    assert path.read_bytes() == content and [file.name for file in path.parent.glob(".*")] == []


def test_every_cut_off_file_is_refused(saved, tmp_path):
    path, before = saved
    content, cut = path.read_bytes(), tmp_path / "cut"
    for length in [*range(0, len(content), max(1, len(content) // 60)), len(content) - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(CommandError, match=r"is no backup|is damaged|is not as it was written"):
            restore(cut, "--replace")
    assert picture() == before


def test_a_file_with_one_changed_byte_is_refused_or_holds_the_same(saved, tmp_path):
    """Of a zip archive some bytes mean nothing, like the time of a part."""
    path, _ = saved
    content, changed = path.read_bytes(), tmp_path / "changed"
    with archive.reading(path) as reader:
        parts = {name: reader.read(name) for name in reader.names("")}
    refused = 0
    for at in range(0, len(content), max(1, len(content) // 400)):
        changed.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        try:
            with archive.reading(changed) as reader:
                assert {name: reader.read(name) for name in reader.names("")} == parts
        except archive.Damaged:
            refused += 1
    assert refused > 200


def rewritten(path: Path, target: Path, change) -> Path:
    """The same parts with one changed, in an archive whose digests are right: as its maker could have made it."""
    with zipfile.ZipFile(path) as old:
        manifest = json.loads(old.read("manifest.json"))
        parts = {name: old.read(name) for name in old.namelist() if name != "manifest.json"}
    change(manifest, parts)
    with archive.writing(target) as writer:
        for name, content in parts.items():
            with writer.part(name) as stream:
                stream.write(content)
        writer.finish({key: value for key, value in manifest.items() if key != "parts"})
    return target


def older(manifest, parts):
    manifest["migrations"]["jails"].pop()


def of_another_format(manifest, parts):
    manifest["format"] = 99


def edited(manifest, parts):
    part = "database/jails.AuditEntry.jsonl"
    parts[part] = parts[part].replace(b"test.thing", b"test.thong", 1)


def cut_log(manifest, parts):
    part = "database/jails.AuditEntry.jsonl"
    parts[part] = b"".join(parts[part].splitlines(keepends=True)[:-1])


def without_a_row(manifest, parts):
    parts["database/jails.Tenant.jsonl"] = b""


def with_a_path(manifest, parts):
    parts["keys/ssh/../../../evil"] = b"evil"


def with_another_column(manifest, parts):
    next(one for one in manifest["tables"] if one["model"] == "jails.Tenant")["columns"].append("evil")


def with_a_shorter_row(manifest, parts):
    parts["database/jails.Tenant.jsonl"] = b"[1]\n"


def with_no_json(manifest, parts):
    parts["database/jails.Tenant.jsonl"] = b"{\n"


def with_no_time(manifest, parts):
    part = "database/jails.Tenant.jsonl"
    row = json.loads(parts[part])
    row[manifest_columns(manifest).index("created_at")] = "yesterday"
    parts[part] = json.dumps(row).encode() + b"\n"


def manifest_columns(manifest):
    return next(one for one in manifest["tables"] if one["model"] == "jails.Tenant")["columns"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_a_shorter_row, "jails.Tenant holds what this release does not understand"),
        (with_no_json, "jails.Tenant holds what this release does not understand"),
        (with_no_time, "jails.Tenant holds what this release does not understand"),
        (older, "made by another release: its jails is at"),
        (of_another_format, "has the format 99"),
        (edited, "The log would not hold: entry 1 was changed"),
        (cut_log, "has 2 rows; 3 were written"),
        (without_a_row, "has 0 rows; 1 were written"),
        (with_a_path, "something that no backup has"),
        (with_another_column, "jails.Tenant has other columns"),
    ],
)
def test_what_no_backup_of_this_release_is_like_changes_nothing(saved, tmp_path, change, words):
    path, before = saved
    if change is of_another_format:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(archive, "FORMAT", 99)
            target = rewritten(path, tmp_path / "other", change)
    else:
        target = rewritten(path, tmp_path / "other", change)
    with pytest.raises(CommandError, match=words):
        restore(target, "--replace")
    assert picture() == before and not (tmp_path.parent / "evil").exists()
    assert audit.verify().ok


def test_a_broken_log_is_kept_as_it_is_and_said(panel, tmp_path, capsys):
    from jails.models.audit_triggers import drop_triggers, make_triggers

    drop_triggers(connection)
    AuditEntry.objects.filter(sequence=2).update(actor="eve")
    make_triggers(connection)
    err = StringIO()
    call_command("backup", str(tmp_path / "b"), stdout=StringIO(), stderr=err)
    assert "does not hold: entry 2 was changed" in err.getvalue()
    call_command("restore", str(tmp_path / "b"), "--replace", stdout=StringIO(), stderr=err)
    assert "as it did not when the backup was made" in err.getvalue()
    assert audit.verify().bad_sequence == 2


def test_a_check_reads_it_and_changes_nothing(saved, tmp_path):
    path, _ = saved
    assert "It is whole" in restore(path, "--check")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CommandError, match="is no backup"):
        restore(tmp_path / "text", "--check")
    with pytest.raises(CommandError, match="No such file"):
        restore(tmp_path / "nothing")


# While it is in use


def test_it_is_of_one_moment(committed, panel, tmp_path, monkeypatch):
    """Others write between two tables: they neither wait nor get into it."""
    rows_of, before = tables.rows_of, picture()

    def in_between():
        try:
            with transaction.atomic():
                tenant = Tenant.objects.create(slug="meanwhile", name="Meanwhile")
                audit.record("tenant.add", actor="x", obj=tenant)
        finally:
            connection.close()

    def slow(model):
        if model is Host:
            thread = threading.Thread(target=in_between)
            thread.start()
            thread.join(20)
        return rows_of(model)

    monkeypatch.setattr(tables, "rows_of", slow)
    backup(tmp_path / "b")
    monkeypatch.undo()
    assert Tenant.objects.filter(slug="meanwhile").exists()
    restore(tmp_path / "b", "--replace", "--without-keys")
    assert picture() == before and audit.verify().ok


# What was open


def test_what_was_open_needs_somebody_and_nothing_acts(confirmed, run, root, tmp_path, box, messages, admin):
    waiting, begun = confirmed(), confirmed(resources=["box:begun"])

    class Died(BaseException):
        pass

    def die(*arguments, **options):
        raise Died

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Died):
        patch.setattr(engine._Run, "_perform_one", die)
        run(begun)
    begun.refresh_from_db()
    assert begun.status == Status.RUNNING and begun.sealed and ResourceLock.objects.exists()
    Operation.objects.update(lease_expires_at=None)
    messages.clear()
    backup(tmp_path / "b")
    assert "need somebody to look: 2" in restore(tmp_path / "b", "--replace")

    for operation in (waiting, begun):
        operation.refresh_from_db()
        assert operation.status == Status.STUCK and "look at the host" in operation.error
    assert not ResourceLock.objects.exists() and box.released == [str(waiting.pk)]
    assert tasks.sweep() == 0 and messages == []
    for operation in (waiting, begun):
        run(operation)
        assert operation.status == Status.STUCK
    assert sorted(path.name for path in root.iterdir()) == ["old"]
    assert AuditEntry.objects.filter(action="operation.restore").count() == 2 and audit.verify().ok

    # Somebody has looked: one is taken up again, one is tried again.
    lifecycle.resume(begun, user=admin)
    assert run(begun).state in (Status.DONE, Status.FAILED)
    with pytest.raises(lifecycle.Refused, match="No worker has ever begun it"):
        lifecycle.resume(waiting, user=admin)
    again = lifecycle.retry(waiting, user=admin)
    lifecycle.confirm(again, again.digest, user=admin)
    assert run(again).state == Status.DONE


# From one database to another


def manage(url: str, folder: Path, *words: str) -> str:
    environment = os.environ | {"CELLBLOCK_DATABASE_URL": url, "CELLBLOCK_STATE_DIR": str(folder)}
    argv = [sys.executable, "-m", "django", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_postgres() -> str:
    import psycopg

    url, name = os.environ["CELLBLOCK_TEST_POSTGRES_URL"], f"restored_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_it_is_restored_on_either_database(saved, tmp_path, target, worker_folder):
    """And from there back: the rows of both backups are the same, times and all."""
    path, _ = saved
    folder = tmp_path / "other"
    url = new_postgres() if target == "postgresql" else f"sqlite:///{tmp_path / 'other.sqlite3'}"
    manage(url, folder, "migrate", "--verbosity", "0")
    words = manage(url, folder, "restore", str(path))
    assert "2 keys" in words
    assert (folder / "worker/seal.key").read_bytes() == (worker_folder / "seal.key").read_bytes()
    assert "an unbroken chain" in manage(url, folder, "audit_verify")
    manage(url, folder, "backup", str(tmp_path / "second"))
    log = ("database/jails.AuditEntry.jsonl", "database/jails.AuditHead.jsonl")
    with archive.reading(path) as first, archive.reading(tmp_path / "second") as second:
        assert first.names("database/") == second.names("database/") and second.manifest["database"] == target
        for part in first.names("database/"):
            if part not in log:
                # jsonb has an order of keys of its own.
                rows = [[json.loads(line) for line in reader.lines(part)] for reader in (first, second)]
                assert rows[0] == rows[1], part
        entries = [[json.loads(line) for line in reader.lines(log[0])] for reader in (first, second)]
        assert entries[1][: len(entries[0])] == entries[0] and len(entries[1]) == len(entries[0]) + 1
        assert {part: first.read(part) for part in first.names("keys/")} == {
            part: second.read(part) for part in second.names("keys/")
        }


def test_checkpoints_of_the_log_and_their_key_go_with_it(panel, settings, tmp_path):
    first = checkpoints.make()
    assert first is not None
    call_command("backup", str(tmp_path / "panel.backup"), stdout=StringIO())
    kept = settings.AUDIT_CHECKPOINTS.read_text()
    with transaction.atomic():
        audit.record("test.later")
    checkpoints.make()
    later = settings.AUDIT_CHECKPOINTS.read_text()
    assert later != kept
    call_command("restore", str(tmp_path / "panel.backup"), "--replace", stdout=StringIO())
    assert settings.AUDIT_CHECKPOINTS.read_text() == kept
    assert settings.AUDIT_CHECKPOINTS.with_name("audit-checkpoints.jsonl.before-restore").read_text() == later
    assert audit.verify(checkpoints=[(first.sequence, first.hash)]).proven == first.sequence
    assert checkpoints.make() is not None, "the restored log goes on from its own last checkpoint"


# Recordings of consoles


@pytest.fixture
def recordings(settings, tmp_path):
    settings.CONSOLE_RECORDINGS = tmp_path / "recordings"
    month = settings.CONSOLE_RECORDINGS / "2026-11"
    month.mkdir(parents=True)
    made = {f"{uuid.uuid4()}.cast": os.urandom(100) for _ in range(2)}
    for name, content in made.items():
        (month / name).write_bytes(content)
    (month / f"{uuid.uuid4()}.cast.part").write_text("being recorded")
    (month / "notes.txt").write_text("no recording")
    return month, made


def test_recordings_go_with_it_when_asked_for(panel, tmp_path, recordings, capsys):
    month, made = recordings
    call_command("backup", str(tmp_path / "without"))
    assert "Not in the backup: 2 recordings of consoles" in capsys.readouterr().err
    call_command("backup", str(tmp_path / "with"), "--with-recordings")
    said = capsys.readouterr()
    assert ", 2 recordings. The log" in said.out and "recordings" not in said.err
    assert "2 recordings" in restore(tmp_path / "with", "--check") and "0 recordings" in restore(
        tmp_path / "without", "--check"
    )
    kept, *lost = made
    shutil.rmtree(month)
    month.mkdir()
    (month / kept).write_bytes(b"what is there stays")
    assert "put back: 1" in restore(tmp_path / "with", "--replace")
    assert {path.name: path.read_bytes() for path in month.iterdir()} == {
        kept: b"what is there stays",
        **{name: made[name] for name in lost},
    }
    assert [(month / name).stat().st_mode & 0o777 for name in lost] == [0o600]


def test_where_recordings_find_no_room_it_says_that_the_panel_is_back(panel, tmp_path, recordings, monkeypatch, capsys):
    from jails.backup import recordings as stored

    month, made = recordings
    call_command("backup", str(tmp_path / "with"), "--with-recordings")
    shutil.rmtree(month)
    real, calls = stored._write, []

    def write(*words):
        calls.append(words)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(words[-1]))
        real(*words)

    with monkeypatch.context() as patch:
        patch.setattr(stored, "_write", write)
        with pytest.raises(CommandError, match="No space left on device"):
            call_command("restore", str(tmp_path / "with"), "--replace")
    said = capsys.readouterr().out
    assert "The panel is as it was at" in said and "put back: 1" in said and "Start the workers" in said
    assert "put back: 1" in restore(tmp_path / "with", "--replace")
    assert {path.name for path in month.iterdir()} == set(made)


@pytest.mark.parametrize("name", ["recordings/../keys/seal.key", "recordings/2026-11/x.cast", "recordings/"])
def test_a_part_that_is_no_recording_is_refused(name):
    from jails.backup import recordings as stored

    with pytest.raises(ValueError, match="is no recording"):
        stored.place_of(name)
