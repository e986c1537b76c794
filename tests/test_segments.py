"""Sealed segments and exports: what leaves the panel can be checked without it, and what was done to it is found."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from jails import audit, checkpoints, segments, tasks
from jails.models import AuditEntry, AuditHead
from tests.chain import made_anew, verify

pytestmark = pytest.mark.django_db
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def archive(settings: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "worker"
    settings.AUDIT_KEY_FILE = folder / "audit-signing.key"
    settings.AUDIT_CHECKPOINTS = folder / "audit-checkpoints.jsonl"
    settings.AUDIT_ARCHIVE = folder / "audit-archive"
    return Path(settings.AUDIT_ARCHIVE)


def record(count: int = 1, **fields: Any) -> None:
    with transaction.atomic():
        audit.record_all([audit.entry("test.thing", **fields) for _ in range(count)])


def checked(folder: Path) -> list[tuple[int, str]]:
    return list(segments.check(folder, [checkpoints.public_key()]))


def program(settings: Any) -> list[str]:
    manual = (Path(settings.BASE_DIR) / "docs/audit.md").read_text()
    return [sys.executable, "-c", manual.split("```python\n")[2].partition("```")[0]]


class TestSealing:
    def test_what_is_old_enough_is_sealed_once(self, archive: Path) -> None:
        record(3, detail="“quoted”, = and \N{SNOWMAN}", after={"b": [1, None], "a": "x"})
        (made,) = segments.seal(LATER)
        assert (made.first, made.last, made.previous_hash) == (1, 3, audit.GENESIS)
        assert segments.seal(LATER) == []
        record(2)
        (second,) = segments.seal(LATER)
        assert (second.first, second.last, second.previous_hash) == (4, 5, made.hash)
        assert checked(archive) == [(3, made.hash), (5, second.hash)]
        assert AuditEntry.objects.count() == 5

    def test_what_is_young_waits(self, archive: Path) -> None:
        record(2)
        middle = AuditEntry.objects.get(sequence=2).at
        assert segments.seal(middle - timedelta(days=1)) == []
        assert [(made.first, made.last) for made in segments.seal(middle)] in ([(1, 1)], [])
        assert not list(archive.glob("*.draft"))

    def test_many_are_several_segments(self, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(segments, "LARGEST", 2)
        record(5)
        assert [(made.first, made.last) for made in segments.seal(LATER)] == [(1, 2), (3, 4), (5, 5)]
        assert [last for last, _ in checked(archive)] == [2, 4, 5]

    def test_killed_before_the_seal_it_is_made_anew(self, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        record(2)

        def killed(*_: Any) -> None:
            (archive / "seal.draft").write_text("{")
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(segments, "_place", killed)
            segments.seal(LATER)
        assert checked(archive) == []
        assert [made.last for made in segments.seal(LATER)] == [2]
        assert [last for last, _ in checked(archive)] == [2]
        assert sorted(path.suffix for path in archive.iterdir() if path.name[0] != ".") == [".gz", ".json"]

    @pytest.mark.usefixtures("unguarded")
    def test_what_does_not_hold_is_not_sealed(self, archive: Path) -> None:
        record(3)
        AuditEntry.objects.filter(sequence=2).update(actor="eve")
        with pytest.raises(checkpoints.Broken, match="entry 2 was changed"):
            segments.seal(LATER)
        assert list(archive.glob("audit-*")) == [] and not list(archive.glob("*.draft"))

    @pytest.mark.usefixtures("unguarded")
    def test_a_log_made_anew_does_not_continue_the_last_segment(self) -> None:
        record(2)
        segments.seal(LATER)
        made_anew()
        with pytest.raises(CommandError, match="entry 2 is not the one of the checkpoint: the chain was made anew"):
            verify()
        record()
        with pytest.raises(checkpoints.Broken, match="entry 3 does not continue entry 2"):
            segments.seal(LATER)

    @pytest.mark.usefixtures("unguarded")
    def test_the_task_seals_past_months_and_tells_of_a_broken_log_once(self, archive: Path) -> None:
        record(2)
        tasks.audit_seal()
        assert checked(archive) == []  # all of it is of this month
        entry = AuditEntry.objects.get(sequence=1)
        entry.at -= timedelta(days=40)
        AuditEntry.objects.filter(sequence=1).update(at=entry.at)
        for _ in range(2):
            tasks.audit_seal()
        told = AuditEntry.objects.filter(action="audit.broken")
        assert [one.detail for one in told] == ["entry 1 was changed after it was written"]
        AuditEntry.objects.filter(sequence=1).update(hash=audit.entry_hash(entry))
        tasks.audit_seal()
        assert [last for last, _ in checked(archive)] == [1]


class TestChecking:
    def spoil(self, archive: Path, how: str) -> None:
        seal, pack = archive / "audit-000000000001-000000000002.seal.json", "audit-000000000001-000000000002.jsonl.gz"
        values = json.loads(seal.read_text())
        if how == "a file changed":
            lines = gzip.decompress((archive / pack).read_bytes()).replace(b"test.thing", b"test.other")
            (archive / pack).write_bytes(gzip.compress(lines))
        elif how == "a file gone":
            (archive / pack).unlink()
        elif how == "a seal changed":
            seal.write_text(json.dumps(values | {"hash": "0" * 64}))
        elif how == "another key":
            seal.write_text(json.dumps(values | {"key": "0" * 64}))
        elif how == "no seal at all":
            seal.write_text("[1]")
        elif how == "another name":
            seal.rename(archive / "audit-000000000001-000000000009.seal.json")
        elif how == "a segment gone":
            seal.unlink()

    @pytest.mark.parametrize(
        ("how", "why"),
        [
            ("a file changed", "is not the file that was sealed"),
            ("a file gone", "is missing: its seal is there"),
            ("a seal changed", "its signature is not right|continues"),
            ("another key", "not a trusted one"),
            ("no seal at all", "is no seal of a segment"),
            ("another name", "is not the seal its name says"),
            ("a segment gone", "a segment that continues the first entry of the log is missing"),
        ],
    )
    def test_each_kind_of_tampering_is_named(self, archive: Path, how: str, why: str) -> None:
        record(2)
        segments.seal(LATER)
        record(2)
        segments.seal(LATER)
        assert "4 entries, an unbroken chain. Proven by a checkpoint: up to entry 4." in verify()
        self.spoil(archive, how)
        with pytest.raises(CommandError, match=why):
            verify()

    @pytest.mark.parametrize(
        ("old", "new", "why"),
        [
            (b'"detail":"second"', b'"detail":"2nd"', "entry 2 was changed after it was written"),
            (b'"sequence":2,', b'"sequence":4,', "entry 4 does not continue entry 1"),
            (b'"previous_hash":"00', b'"previous_hash":"10', "entry 1 does not continue entry 0"),
            (b'"after":{"hash":"1"}', b'"after":{"hash":"2"}', "entry 3 was changed after it was written"),
            (b"}\n", b"\n", "Expecting"),
            (b'"detail":"second"', b'"detail": "second"', ""),
        ],
    )
    def test_each_entry_of_a_file_is_checked_whatever_its_seal_says(
        self, old: bytes, new: bytes, why: str, archive: Path
    ) -> None:
        record(before={"hash": "0" * 64, "host": "x"}, after={"previous_hash": "0", "sequence": 9, "source": ""})
        record(detail="second")
        record(detail='"hash":"', after={"hash": "1"}, before={"\\": '","hash":"\\'})
        (made,) = segments.seal(LATER)
        pack = archive / f"{made.name}.jsonl.gz"
        content = gzip.decompress(pack.read_bytes())
        assert old in content
        pack.write_bytes(gzip.compress(content.replace(old, new, 1)))
        forged = replace(made, sha256=hashlib.sha256(pack.read_bytes()).hexdigest())
        forged = replace(forged, signature=checkpoints.signing_key().sign(forged.signed).hex())
        (archive / f"{made.name}.seal.json").write_text(json.dumps(asdict(forged)))
        if not why:
            assert checked(archive) == [(3, made.hash)]
            return
        with pytest.raises(ValueError, match=why):
            checked(archive)

    def test_lines_as_they_are_written_are_not_read_as_json(self, archive: Path, monkeypatch: Any) -> None:
        record(2, detail='"hash":"ü"', after={"hash": "1", "previous_hash": "0" * 64, "sequence": 1, "source": '"'})
        segments.seal(LATER)
        monkeypatch.setattr(segments, "_hash_as_read", None)
        assert [last for last, _ in checked(archive)] == [2]

    @pytest.mark.usefixtures("unguarded")
    def test_a_log_that_was_cut_off_is_shown_by_what_was_sealed(self) -> None:
        record(4)
        segments.seal(LATER)
        AuditEntry.objects.filter(sequence__gt=2).delete()
        AuditHead.objects.update(sequence=2, hash=AuditEntry.objects.get(sequence=2).hash)
        with pytest.raises(CommandError, match="entry 4 of the checkpoint is missing: the chain ends at 2"):
            verify()

    def test_a_checkpoint_at_the_end_of_a_segment_is_no_trouble(self) -> None:
        record(2)
        checkpoints.make()
        segments.seal(LATER)
        record(1)
        checkpoints.make()
        assert "up to entry 3" in verify()

    def test_a_folder_without_segments_is_told(self, tmp_path: Path) -> None:
        record()
        with pytest.raises(CommandError, match="--archive: there is no sealed segment"):
            verify("--archive", str(tmp_path))


class TestExport:
    def export(self, *words: str) -> str:
        out = StringIO()
        call_command("audit_export", *words, stdout=out)
        return out.getvalue()

    def test_the_program_of_the_manual_checks_it(self, settings: Any, tmp_path: Path) -> None:
        record(3, detail="“quoted” \N{SNOWMAN}\n", before=None, after={"b": [1, None, True], "a": {"deep": "x"}})
        file = tmp_path / "log.jsonl"
        assert self.export(str(file)) == "3 entries, 1 to 3\n"
        assert file.stat().st_mode & 0o777 == 0o600
        text = file.read_text()
        last = AuditEntry.objects.get(sequence=3)

        def run(lines: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(program(settings), input=lines, capture_output=True, text=True)

        assert run(text).stdout == f"holds up to 3 {last.hash}\n"
        lines = text.splitlines(keepends=True)
        assert run(text.replace("test.thing", "test.other")).stderr == "entry 1 was changed\n"
        assert run(lines[0] + lines[2]).stderr == "entry 3 does not continue entry 1\n"
        assert run(lines[1] + lines[0]).stderr == "entry 1 does not continue entry 2\n"

    def test_it_is_an_entry_itself(self) -> None:
        record(3)
        assert [json.loads(line)["sequence"] for line in self.export("-", "--first", "2").splitlines()] == [2, 3]
        entry = AuditEntry.objects.get(sequence=4)
        assert (entry.action, entry.actor, entry.after) == ("audit.export", "command line", {"first": 2, "last": 3})

    @pytest.mark.parametrize(
        "words", [("--first", "0"), ("--first", "3"), ("--last", "3"), ("--first", "2", "--last", "1")]
    )
    def test_a_range_that_is_not_there_is_refused(self, words: tuple[str, ...], tmp_path: Path) -> None:
        record(2)
        with pytest.raises(CommandError, match="expected 1 <= --first <= --last <= 2"):
            self.export(str(tmp_path / "log"), *words)
        assert not (tmp_path / "log").exists() and AuditEntry.objects.count() == 2

    def test_a_file_that_is_there_stays(self, tmp_path: Path) -> None:
        record()
        (tmp_path / "log").write_text("mine")
        with pytest.raises(CommandError, match="is there already"):
            self.export(str(tmp_path / "log"))
        assert (tmp_path / "log").read_text() == "mine"
