import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jails", "0010_adoption_drift_survey"),
    ]

    operations = [
        migrations.CreateModel(
            name="HostAccessRecord",
            fields=[
                (
                    "host",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="access_record",
                        serialize=False,
                        to="jails.host",
                    ),
                ),
                ("data", models.JSONField(blank=True, default=dict)),
                ("wanted_at", models.DateTimeField()),
                ("tested_at", models.DateTimeField(blank=True, null=True)),
            ],
        ),
    ]
