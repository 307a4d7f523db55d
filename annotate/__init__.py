# Every process must reach the broker.
from annotate.celery import app as celery_app

__all__ = ["celery_app"]
