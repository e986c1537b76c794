from django.apps import AppConfig


class JailsConfig(AppConfig):
    name = "jails"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from jails import keys, signals  # noqa: F401
