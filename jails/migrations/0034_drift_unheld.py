from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jails", "0033_what_jails_were"),
    ]

    operations = [
        migrations.AddField(
            model_name="drift",
            name="unheld",
            field=models.BooleanField(default=False),
        ),
    ]
