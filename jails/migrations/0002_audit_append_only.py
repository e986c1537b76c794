from django.db import migrations

from jails.models.audit_triggers import drop_triggers, make_triggers


class Migration(migrations.Migration):
    dependencies = [("jails", "0001_initial")]

    operations = [
        migrations.RunPython(
            lambda apps, editor: make_triggers(editor.connection),
            lambda apps, editor: drop_triggers(editor.connection),
        )
    ]
