from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jails", "0034_drift_unheld"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="hidden_columns",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
