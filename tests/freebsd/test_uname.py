from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd import uname
from jails.freebsd.uname import Release

OLD_TO_NEW = [
    "12.1-RELEASE", "12.1-STABLE", "13.0-RELEASE", "14.0-CURRENT", "14.0-ALPHA1", "14.0-BETA1", "14.0-BETA2",
    "14.0-RC1", "14.0-RELEASE", "14.0-RELEASE-p1", "14.0-RELEASE-p10", "14.0-STABLE", "14.1-PRERELEASE", "14.1-BETA1",
    "14.2-RELEASE", "14.10-RELEASE", "15.0-RELEASE",
]  # fmt: skip


def test_order():
    releases = [Release.parse(text) for text in OLD_TO_NEW]
    mixed = releases[1::2] + releases[::2]
    assert sorted(mixed) == releases
    assert [str(release) for release in releases] == OLD_TO_NEW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "14.2",
        "14.2-RELEASE-p",
        "FreeBSD 14.2-RELEASE",
        "14.2-RELEASE; id",
        "14-2",
        "a.b-RELEASE",
        "14.2-RELEASE-p1-x",
    ],
)
def test_what_is_no_release_is_refused(text):
    with pytest.raises(ValueError, match=r"^release: "):
        Release.parse(text)


@given(st.text(max_size=20))
def test_what_is_read_is_written_alike(text):
    try:
        release = Release.parse(text)
    except ValueError:
        return
    assert Release.parse(str(release)) == release


@pytest.mark.parametrize(
    ("host", "jail", "fits"),
    [
        ("14.2-RELEASE", "14.2-RELEASE-p3", True),
        ("14.2-RELEASE-p3", "14.2-RELEASE", True),
        ("14.2-RELEASE", "13.5-RELEASE", True),
        ("14.2-RELEASE", "14.3-RELEASE", False),
        ("14.2-RELEASE", "15.0-RELEASE", False),
        ("14.0-RC1", "14.0-RELEASE", False),
        ("14.2-STABLE", "14.2-RELEASE", True),
        ("14.2-STABLE", "14.3-BETA1", False),
    ],
)
def test_a_userland_is_never_newer_than_its_host(host, jail, fits):
    assert uname.userland_not_newer(Release.parse(host), Release.parse(jail)) is fits


def test_uname():
    assert uname.parse_uname(b"FreeBSD warden1 14.2-RELEASE-p1 amd64 amd64\n") == uname.Uname(
        "FreeBSD", "warden1", "14.2-RELEASE-p1", "amd64", "amd64"
    )
    with pytest.raises(ValueError, match="five words"):
        uname.parse_uname(b"Linux x\n")


def test_versions():
    versions = uname.parse_freebsd_version(b"14.2-RELEASE-p2\n14.2-RELEASE-p1\n14.2-RELEASE-p3\n")
    assert versions.needs_reboot and versions.userland.patch == 3
    with pytest.raises(ValueError, match="three releases"):
        uname.parse_freebsd_version(b"14.2-RELEASE\n")


def test_end_of_life():
    assert uname.eol_of("12.1-RELEASE-p13") == date(2021, 1, 31)
    assert uname.eol_of("14.9-RELEASE") == date(2028, 11, 30)
    assert uname.eol_of("99.0-RELEASE") is None and uname.eol_of("nonsense") is None


def test_no_release_outlives_its_branch():
    for name, end in uname.END_OF_LIFE.items():
        assert end <= uname.BRANCH_END_OF_LIFE[Release.parse(name).major]
