"""The platform on which people teach language models."""

# Loaded here so that `shared_task` and `send_task` reach the configured broker from every process.
from annotate.celery import app as celery_app

__all__ = ["celery_app"]
