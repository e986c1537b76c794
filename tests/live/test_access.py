"""The test of what the panel may do, on the host of these tests: all of it passes, or says what stands in its way."""

from jails.hosts.access import Access, Subject, examine
from tests.live.site import Site


def test_access(site: Site):
    before = site.sh("ls -A /var/run")
    found = examine(site.connection, Subject("ssh", site.connection.username, pool=site.pool))
    assert found.failing == (), found.failing
    assert found.untried == {}
    assert site.sh("ls -A /var/run") == before
    assert Access.from_data(found.to_data()) == found
