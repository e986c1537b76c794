"""Celery's application. Workers: `celery -A panel worker -Q operations`, and one more with `-Q refresh`."""

import logging.config
import os
import warnings

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import setup_logging
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")

# A worker of a local host must be root; the warning is about pickled messages, and only JSON is accepted.
warnings.filterwarnings("ignore", category=SecurityWarning)

TRANSPORT_ALIASES["filesystem"] = "panel.broker:Transport"

app = Celery("cellblock")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["jails"])


@setup_logging.connect
def use_the_panels_logging(**_: object) -> None:
    """Being connected is what keeps Celery from setting up handlers of its own."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
