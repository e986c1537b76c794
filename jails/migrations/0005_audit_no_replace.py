from django.db import migrations

from jails.models.audit_triggers import drop_triggers, make_triggers


def make_anew(apps, editor):
    drop_triggers(editor.connection)
    make_triggers(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("jails", "0004_trusted_manifests")]

    operations = [migrations.RunPython(make_anew, migrations.RunPython.noop)]
