from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jails", "0005_audit_no_replace")]

    operations = [
        migrations.AddField(
            model_name="template",
            name="cleaned",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
