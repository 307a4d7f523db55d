from django.apps import AppConfig


class ModelsWorkerConfig(AppConfig):
    name = "models_worker"
