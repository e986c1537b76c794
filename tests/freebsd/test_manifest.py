import hashlib
import re

import pytest

from jails.freebsd import manifest, names

BASE = hashlib.sha256(b"base").hexdigest()
CONTENT = (
    f'base.txz\t{BASE}\t29862\tbase\t"Base system (MANDATORY)"\ton\nsrc.txz\t{BASE}\t1\tsrc\t"Sources"\toff\n'.encode()
)


def test_entries():
    found = manifest.parse(CONTENT)
    assert found.entry("base.txz") == manifest.Entry("base.txz", BASE, 29862, "base", "Base system (MANDATORY)", True)
    assert not found.entry("src.txz").default
    assert found.digest == hashlib.sha256(CONTENT).hexdigest()


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"has no lib32\.txz; it lists base\.txz, src\.txz"):
        manifest.parse(CONTENT).entry("lib32.txz")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        CONTENT[:60],
        CONTENT + b"x\n",
        CONTENT + CONTENT,
        CONTENT.replace(b"base.txz", b"../base.txz"),
        CONTENT.replace(b"base.txz", b"-base.txz"),
        CONTENT.replace(b"29862", b"many"),
        CONTENT.replace(BASE.encode(), BASE[:-1].encode()),
        CONTENT.replace(b"\t", b" "),
    ],
)
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises(ValueError, match=r"^MANIFEST: "):
        manifest.parse(content)


def test_an_unknown_manifest_is_not_trusted():
    assert not manifest.is_trusted(CONTENT, "14.2-RELEASE", "amd64")
    assert not manifest.is_trusted(CONTENT, "99.0-RELEASE", "amd64")
    assert not manifest.is_trusted(b"", "99.0-RELEASE", "amd64", confirmed="")


def test_a_confirmed_manifest_is_trusted_to_the_last_byte():
    digest = manifest.digest_of(CONTENT)
    assert manifest.is_trusted(CONTENT, "99.0-RELEASE", "amd64", confirmed=digest.upper())
    assert not manifest.is_trusted(CONTENT + b"\n", "99.0-RELEASE", "amd64", confirmed=digest)
    assert not manifest.is_trusted(CONTENT, "99.0-RELEASE", "amd64", confirmed="ü")


def test_a_trusted_manifest_is_one_of_its_release_and_architecture(monkeypatch):
    monkeypatch.setitem(manifest.TRUSTED_MANIFESTS, ("14.2-RELEASE", "amd64"), manifest.digest_of(CONTENT))
    assert manifest.is_trusted(CONTENT, "14.2-RELEASE", "amd64")
    assert not manifest.is_trusted(CONTENT, "14.2-RELEASE", "arm64")
    assert not manifest.is_trusted(CONTENT, "14.3-RELEASE", "amd64")


def test_the_table_holds_digests_of_releases():
    for (release, architecture), digest in manifest.TRUSTED_MANIFESTS.items():
        assert names.release_error(release) is None and names.arch_error(architecture) is None
        assert re.fullmatch("[0-9a-f]{64}", digest)
