from django.apps import AppConfig


class DemonstrationsConfig(AppConfig):
    name = "annotate.demonstrations"
