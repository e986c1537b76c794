"""A refresh and the end of an operation, both of which write what belongs to one host, at the same moment."""

import threading

from django.db import connection, transaction
from django.utils import timezone

from jails.hosts import refresh as module
from jails.hosts.facts import HostFacts
from jails.models import Host, HostFactsRecord, Jail

SECTIONS = ("identity", "version", "jails", "interfaces", "mounts", "space", "files", "names", "zfs")


def test_neither_waits_for_the_other_for_ever(committed, host, monkeypatch):
    """The refresh has the host and wants the facts; the other has the facts and wants to refer to the host."""
    facts = HostFacts(missing=dict.fromkeys(SECTIONS, "not asked"))
    HostFactsRecord.objects.create(host=host, data=facts.to_data(), gathered_at=timezone.now())
    refreshing, stored, failures = threading.Event(), threading.Event(), []
    real = module._store_host

    def store_host(*args):
        real(*args)
        refreshing.set()
        stored.wait(1)

    def in_thread(act):
        def run():
            try:
                act()
            except Exception as error:
                failures.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def finish():
        refreshing.wait(5)
        with transaction.atomic():
            module.store_facts(host, facts, timezone.now())
            stored.set()
            Jail.objects.create(host=host, name="www1", kind="thick", path="/jail/www1")

    monkeypatch.setattr(module, "gather", lambda *args, **options: facts)
    monkeypatch.setattr(module, "_store_host", store_host)
    threads = [in_thread(lambda: module.refresh(host, connection=lambda row: None)), in_thread(finish)]
    for thread in threads:
        thread.join(40)
    assert failures == [] and Jail.objects.get().name == "www1"
    assert Host.objects.get().refreshed_at is not None
