import pytest

from jails.freebsd import fetch

GOOD = [
    "https://download.freebsd.org/releases/amd64/14.2-RELEASE/base.txz",
    "http://192.0.2.1:8080/base.txz",
    "http://[2001:db8::1]/base.txz",
    "file:///var/db/mirror/MANIFEST",
]
BAD = [
    "", "-o/etc/passwd", "ftp://x/y", "https://", "https:///x", "http://user:secret@x/y", "http://x/a b", "http://x/a;b",
    "http://x/$(id)", "file://host/x", "file:x", "javascript:alert(1)", "http://x/../y", "http://x:99999/", "http://x/\n",
    "http://[::1/", "HTTP//x", "http://-x/", "http://ü/",
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_good_urls(url):
    assert fetch.get(url, "/tmp/x") == ("fetch", "-q", "-T", "60", "-o", "/tmp/x", url)
    assert fetch.size(url) == ("fetch", "-s", "-T", "60", url)


@pytest.mark.parametrize("url", BAD)
def test_bad_urls_are_refused(url):
    with pytest.raises(ValueError, match=r"^url: "):
        fetch.get(url, "/tmp/x")


def test_sizes():
    assert fetch.parse_size(b"205304000\n") == 205304000
    assert fetch.parse_size(b"Unknown\n") is None
