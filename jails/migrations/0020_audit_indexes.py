from django.db import migrations, models

from jails import audittext

TABLE = "jails_auditentry"


def drop_index_of_time(apps, editor):
    with editor.connection.cursor() as cursor:
        found = editor.connection.introspection.get_constraints(cursor, TABLE)
        for name in [name for name, it in found.items() if it["index"] and it["columns"] == ["at"]]:
            cursor.execute(f"DROP INDEX {editor.quote_name(name)}")


def make_index_of_time(apps, editor):
    with editor.connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX jails_auditentry_at ON {TABLE} (at)")


def make_text(apps, editor):
    audittext.make(editor.connection)
    audittext.analyse(editor.connection)


def drop_text(apps, editor):
    audittext.drop(editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("jails", "0019_agreements_and_approvals"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="auditentry",
            name="jails_audit_tenant__4bda8f_idx",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="jails_audit_actor_a72c2f_idx",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="jails_audit_action_0789b5_idx",
        ),
        # Not by AlterField alone: on SQLite it copies the table, and the triggers that guard it would be gone.
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(drop_index_of_time, make_index_of_time)],
            state_operations=[
                migrations.AlterField(model_name="auditentry", name="at", field=models.DateTimeField()),
            ],
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["-at", "-sequence", "actor", "action", "outcome", "host", "tenant", "tenant_id"],
                name="audit_by_time",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["tenant_id", "-sequence", "actor", "action", "outcome", "host", "tenant", "at"],
                name="audit_by_tenant_id",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["tenant", "-sequence", "actor", "action", "outcome", "host", "tenant_id", "at"],
                name="audit_by_tenant",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["actor", "-sequence", "action", "outcome", "host", "tenant", "tenant_id", "at"],
                name="audit_by_actor",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["host", "-sequence", "actor", "action", "outcome", "tenant", "tenant_id", "at"],
                name="audit_by_host",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["action", "-sequence", "outcome", "at"], name="audit_by_action"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["outcome", "-sequence", "at"], name="audit_by_outcome"),
        ),
        migrations.RunPython(make_text, drop_text),
    ]
