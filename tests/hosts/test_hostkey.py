"""Comparing a host's key with what a person copied from the host: against what ssh-keygen(1) prints."""

import contextlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.hosts.hostkey import HostKey

from .sshd import make_key

pytestmark = pytest.mark.sshd


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for kind in ("ed25519", "rsa", "ecdsa"):
        make_key(folder / kind, kind)
    make_key(folder / "other")
    return folder


@pytest.fixture(params=["ed25519", "rsa", "ecdsa"])
def kind(request):
    return request.param


def key_of(folder, name):
    return HostKey.parse((folder / f"{name}.pub").read_text())


def listed(folder, name, *options):
    path = folder / f"{name}.pub"
    return subprocess.run(["ssh-keygen", "-l", *options, "-f", path], capture_output=True, text=True).stdout


def forms(folder, name):
    line = listed(folder, name)
    md5 = listed(folder, name, "-E", "md5")
    yield from (line, md5, line.split()[1], md5.split()[1], line.split()[1].removeprefix("SHA256:"))
    yield from (md5.split()[1].removeprefix("MD5:"), (folder / f"{name}.pub").read_text(), f"\n  {line}\n\n")


def test_equal_in_every_form(folder, kind):
    assert all(key_of(folder, kind).compare(form) for form in forms(folder, kind))


def test_another_key_of_the_same_type_in_every_form(folder):
    assert not any(key_of(folder, "ed25519").compare(form) for form in forms(folder, "other"))


def test_a_bare_fingerprint_of_another_type_is_just_another(folder):
    assert not key_of(folder, "ed25519").compare(listed(folder, "rsa").split()[1])


def test_another_type_says_which_to_look_at(folder, kind):
    other = "rsa" if kind != "rsa" else "ed25519"
    with pytest.raises(ValueError, match=f"ssh-keygen -lf {key_of(folder, kind).file}"):
        key_of(folder, kind).compare(listed(folder, other))


def test_of_all_the_hosts_keys_the_one_of_its_type_decides(folder, kind):
    everything = "".join(listed(folder, name) for name in ("rsa", "ecdsa", "ed25519"))
    assert key_of(folder, kind).compare(everything)
    assert not key_of(folder, "other").compare(everything)


def test_two_of_one_type_must_both_be_equal(folder):
    both = listed(folder, "ed25519") + listed(folder, "other")
    assert not key_of(folder, "ed25519").compare(both)


@pytest.mark.parametrize("text", ["", " \n", "yes", "SHA256:", "SHA256:abc", "MD5:ab:cd", "ssh-ed25519", "256"])
def test_nothing_to_compare(folder, text):
    with pytest.raises(ValueError, match=r"fingerprint|empty"):
        key_of(folder, "ed25519").compare(text)


@given(st.text(max_size=200))
def test_whatever_is_pasted_is_no_equal(text):
    key = HostKey("ssh-ed25519", b"not what was pasted")
    with contextlib.suppress(ValueError):
        assert not key.compare(text)


@given(st.integers(0, 42), st.sampled_from("ABCDEFabcdef0123456789+/"))
def test_one_letter_makes_another_key(at, letter):
    key = HostKey("ssh-ed25519", b"key")
    text = list(key.fingerprint.removeprefix("SHA256:"))
    changed = text[at] != letter
    text[at] = letter
    assert key.compare("".join(text)) != changed
