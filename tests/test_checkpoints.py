"""Signed checkpoints: what they find in a log whose owner rewrote it, and that nothing broken is ever signed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError
from django.db import transaction

from jails import audit, checkpoints, tasks
from jails.models import AuditEntry, AuditHead
from tests.chain import made_anew, verify

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def place(settings: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "worker"
    settings.AUDIT_KEY_FILE = folder / "audit-signing.key"
    settings.AUDIT_CHECKPOINTS = folder / "audit-checkpoints.jsonl"
    return Path(settings.AUDIT_CHECKPOINTS)


def record(count: int = 1) -> None:
    for _ in range(count):
        with transaction.atomic():
            audit.record("test.thing")


def test_one_is_made_for_what_was_appended_and_signed(place: Path) -> None:
    assert checkpoints.make() is None
    record(3)
    made = checkpoints.make()
    assert made is not None and made.sequence == 3
    checkpoints.check(made, [checkpoints.public_key()])
    assert checkpoints.make() is None
    record()
    checkpoints.make()
    assert [json.loads(line)["sequence"] for line in place.read_text().splitlines()] == [3, 4]
    record()
    assert "5 entries, an unbroken chain. Proven by a checkpoint: up to entry 4." in verify()


def test_its_key_is_made_once_and_for_its_owner_alone(place: Path, settings: Any) -> None:
    first = checkpoints.public_key()
    assert checkpoints.public_key() == first == verify("--public-key").strip()
    assert settings.AUDIT_KEY_FILE.stat().st_mode & 0o777 == 0o600
    settings.AUDIT_KEY_FILE.chmod(0o644)
    with pytest.raises(PermissionError, match="can be read by others"):
        checkpoints.public_key()


def test_a_log_that_was_made_anew_shows(unguarded: None) -> None:
    record(5)
    checkpoints.make()
    made_anew()
    assert audit.verify().ok
    with pytest.raises(CommandError, match="entry 5 is not the one of the checkpoint"):
        verify()


def test_what_is_still_proven_is_said(unguarded: None) -> None:
    record(3)
    checkpoints.make()
    record(3)
    AuditEntry.objects.filter(sequence=5).update(actor="eve")
    with pytest.raises(CommandError, match=r"entry 5 was changed .* Proven by a checkpoint: up to entry 3\."):
        verify()


def test_a_log_that_was_cut_off_shows(unguarded: None) -> None:
    record(5)
    checkpoints.make()
    AuditEntry.objects.filter(sequence__gt=3).delete()
    AuditHead.objects.update(sequence=3, hash=AuditEntry.objects.get(sequence=3).hash)
    assert audit.verify().ok
    with pytest.raises(CommandError, match="entry 5 of the checkpoint is missing: the chain ends at 3"):
        verify()


@pytest.mark.parametrize("harm", ["edited", "made anew", "cut off"])
def test_nothing_broken_is_signed_and_it_is_an_entry_once(harm: str, place: Path, unguarded: None) -> None:
    record(3)
    checkpoints.make()
    before = place.read_text()
    record(2)
    if harm == "edited":
        AuditEntry.objects.filter(sequence=4).update(actor="eve")
    elif harm == "made anew":
        made_anew()
    else:
        AuditEntry.objects.filter(sequence__gt=2).delete()
        AuditHead.objects.update(sequence=2, hash=AuditEntry.objects.get(sequence=2).hash)
    with pytest.raises(checkpoints.Broken):
        checkpoints.make()
    if harm != "cut off":
        tasks.audit_checkpoint()
        tasks.audit_checkpoint()
        assert AuditEntry.objects.filter(action="audit.broken", outcome="failed").count() == 1
    assert place.read_text() == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hash": "0" * 64}, "its signature is not right"),
        ({"sequence": 2}, "its signature is not right"),
        ({"at": "2020-01-01T00:00:00.000000+00:00"}, "its signature is not right"),
        ({"sequence": "3"}, "its sequence is no number"),
        ({"hash": "x"}, "its hash is not one"),
        ({"extra": 1}, "it is no checkpoint"),
        ({"key": "ab" * 32}, "is not a trusted one"),
    ],
)
def test_a_line_that_was_changed_is_named(change: dict[str, Any], why: str, place: Path) -> None:
    record(3)
    checkpoints.make()
    place.write_text(json.dumps(json.loads(place.read_text()) | change) + "\n")
    with pytest.raises(CommandError, match=f"line 1: .*{why}"):
        verify()
    record()
    with pytest.raises(checkpoints.Broken, match=why):
        checkpoints.make()


def test_lines_are_in_order(place: Path) -> None:
    record(2)
    checkpoints.make()
    record(2)
    checkpoints.make()
    place.write_text("".join(reversed(place.read_text().splitlines(keepends=True))))
    with pytest.raises(CommandError, match="line 2: it is about entry 2, behind one about entry 4"):
        verify()


def test_another_machine_checks_with_the_public_key_alone(place: Path, settings: Any, tmp_path: Path) -> None:
    record(2)
    checkpoints.make()
    key, file = checkpoints.public_key(), tmp_path / "copied"
    place.rename(file)
    settings.AUDIT_KEY_FILE.unlink()
    assert "up to entry 2" in verify("--checkpoints", str(file), "--key", key)
    with pytest.raises(CommandError, match="give the public key with --key"):
        verify("--checkpoints", str(file))
    other = checkpoints.public(Ed25519PrivateKey.generate())
    with pytest.raises(CommandError, match="not a trusted one"):
        verify("--checkpoints", str(file), "--key", other)
    with pytest.raises(CommandError, match="there is no"):
        verify("--checkpoints", str(tmp_path / "nowhere"))


def test_a_line_that_a_crash_cut_off_is_left_out(place: Path) -> None:
    record()
    checkpoints.make()
    whole = place.read_text()
    place.write_text(whole + whole[:40])
    record()
    checkpoints.make()
    assert [json.loads(line)["sequence"] for line in place.read_text().splitlines()] == [1, 2]


def test_two_at_once_make_one(place: Path) -> None:
    """The second waits for the first, and finds that there is nothing new."""
    record(4)
    with checkpoints.alone(place):
        done: list[bool] = []
        waiting = Thread(target=lambda: checkpoints.alone(place).__enter__() or done.append(True))
        waiting.start()
        waiting.join(0.2)
        assert not done
    waiting.join(60)
    assert done == [True]


def test_the_program_of_the_manual_checks_them(place: Path, settings: Any) -> None:
    record(2)
    made = checkpoints.make()
    assert made is not None
    manual = (Path(settings.BASE_DIR) / "docs/audit.md").read_text()
    program = manual.split("```python\n")[1].partition("```")[0]
    argv = [sys.executable, "-c", program, checkpoints.public_key()]
    done = subprocess.run(argv, input=place.read_text(), capture_output=True, text=True)
    assert done.stdout == f"2 {made.hash} signed {made.at}\n", done.stderr
    forged = place.read_text().replace('"sequence": 2', '"sequence": 3')
    assert subprocess.run(argv, input=forged, capture_output=True, text=True).returncode != 0
