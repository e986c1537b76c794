import os

import pytest

from jails import secretfile
from jails.operations import seal


@pytest.fixture
def key_file(settings, tmp_path):
    seal._key.cache_clear()
    settings.WORKER_KEY_FILE = tmp_path / "keys" / "seal.key"
    yield settings.WORKER_KEY_FILE
    seal._key.cache_clear()


def test_a_missing_key_is_made_for_its_owner_alone(key_file):
    assert len(seal.key()) >= seal.KEY_BYTES
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_two_workers_that_start_at_once_have_one_key(key_file):
    secretfile.make(key_file, "x" * 64)
    first = key_file.read_bytes()
    secretfile.make(key_file, "x" * 64)
    assert key_file.read_bytes() == first and os.listdir(key_file.parent) == ["seal.key"]


def test_a_key_that_others_can_read_is_refused(key_file):
    secretfile.make(key_file, "x" * 64)
    key_file.chmod(0o640)
    with pytest.raises(PermissionError, match="0600"):
        seal.key()


def test_an_empty_key_is_refused(key_file):
    secretfile.make(key_file, "x" * 64)
    key_file.write_text("")
    with pytest.raises(ValueError, match="expected at least 32"):
        seal.key()


def test_a_seal_is_bound_to_operation_index_and_content(key_file):
    seals = {
        seal.of_step("a", 0, {"key": "x"}),
        seal.of_step("b", 0, {"key": "x"}),
        seal.of_step("a", 1, {"key": "x"}),
        seal.of_step("a", 0, {"key": "y"}),
    }
    assert len(seals) == 4


def test_a_seal_does_not_depend_on_the_order_of_keys(key_file):
    assert seal.of_step("a", 0, {"x": 1, "y": 2}) == seal.of_step("a", 0, {"y": 2, "x": 1})


def test_another_key_makes_another_seal(key_file):
    first = seal.of_step("a", 0, {})
    seal._key.cache_clear()
    key_file.unlink()
    assert seal.of_step("a", 0, {}) != first
