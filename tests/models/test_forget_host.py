"""Forgetting a host takes its rows along, whatever they refer to among themselves."""

import pytest

from jails.models import Address, Host, Jail, Network, Release, Template, Tenant


@pytest.fixture
def host(db):
    host = Host.objects.create(name="warden1", kind=Host.Kind.SIMULATED)
    base = {"host": host, "architecture": "amd64", "storage": "zfs", "path": "/x"}
    release = Release.objects.create(name="14.2-RELEASE", **base)
    template = Template.objects.create(name="web", release=release, **base)
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    jail = Jail.objects.create(
        host=host, name="www1", kind="thin", path="/jail/www1", release=release, template=template, tenant=tenant
    )
    network = Network.objects.create(name="lo", cidr="10.0.0.0/24", host=host)
    Address.objects.create(network=network, ip="10.0.0.2", jail=jail)
    return host


def test_a_host_goes_with_all_that_is_on_it(host):
    host.delete()
    assert not Jail.objects.exists() and not Release.objects.exists() and not Template.objects.exists()
    assert not Network.objects.exists() and not Address.objects.exists()
    assert Tenant.objects.exists()


def test_what_others_depend_on_does_not_go_alone(host):
    from django.db.models import RestrictedError

    for thing in (Release.objects.get(), Template.objects.get(), Network.objects.get()):
        with pytest.raises(RestrictedError):
            thing.delete()
