import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import publickey
from jails.freebsd.publickey import Unusable, parse

# Of a security key: the blob is type, key and application, and no private part is needed to have one.
SK = (
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa"
    "/dczAAAABHNzaDo= ada@token"
)


def text_of(key):
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


ED25519 = text_of(ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_ecdsa(curve):
    assert parse(text_of(ec.generate_private_key(curve))).type.startswith("ecdsa-sha2-nistp")


def test_ed25519_and_how_it_is_shown(tmp_path):
    key = parse(f"  {ED25519} ada@laptop \n")
    assert (key.type, key.comment, key.line) == ("ssh-ed25519", "ada@laptop", f"{ED25519} ada@laptop")
    assert key.marked(42) == f"{ED25519} cellblock:42 ada@laptop"
    (tmp_path / "key.pub").write_text(key.line)
    shown = subprocess.run(["ssh-keygen", "-lf", tmp_path / "key.pub"], capture_output=True, text=True)
    if shown.returncode == 0:
        assert key.fingerprint in shown.stdout


def test_security_keys():
    assert parse(SK).comment == "ada@token"


def test_rsa_by_its_size():
    assert parse(text_of(rsa.generate_private_key(65537, 3072))).type == "ssh-rsa"
    with pytest.raises(Unusable, match="2048 bits"):
        parse(text_of(rsa.generate_private_key(65537, 2048)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one key"),
        (f"{ED25519}\n{ED25519}", "one key"),
        (f'command="sh" {ED25519}', "options in front"),
        (f"no-pty {ED25519}", "options in front"),
        (f"cert-authority {ED25519}", "options in front"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "options in front"),
        ("ssh-dss AAAAB3NzaC1kc3M= ada", "DSA"),
        ("ssh-ed25519", "missing"),
        ("ssh-ed25519 AAAA!", "missing"),
        (ED25519[:-8], "damaged"),
        (ED25519.replace("ssh-ed25519 ", "ssh-rsa "), "damaged"),
        (f"{ED25519}\0", "characters"),
        (f"{ED25519} \x1b[2J", "characters"),
        (f"{ED25519} {'x' * 5000}", "too long"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "private key"),
    ],
)
def test_what_is_refused(text, words):
    with pytest.raises(Unusable, match=words):
        parse(text)


def test_a_comment_is_only_a_comment():
    assert parse(f'{ED25519} a "b" command="x",no-pty\tcellblock:1').comment == "a-b-command-x-no-pty-cellblock-1"
    assert parse(f"{ED25519} {'ä' * 90}").comment == ""
    assert len(parse(f"{ED25519} {'a' * 90}").comment) == publickey.COMMENT_MAX


@given(st.text(max_size=300))
def test_any_text_is_a_key_or_refused(text):
    try:
        key = parse(text)
    except Unusable:
        return
    assert parse(key.line) == key


@given(st.text(max_size=80))
def test_whatever_the_comment_the_line_is_one_key(comment):
    try:
        key = parse(f"{ED25519} {comment}")
    except Unusable:
        return
    assert key.marked(7).split(" ")[:3] == [*ED25519.split(), "cellblock:7"] and "\n" not in key.marked(7)
    assert publickey.MARK.format(person=8) not in key.marked(7)
