from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jails", "0002_audit_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="operation",
            name="unreachable_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="operationstep",
            name="state_seal",
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
