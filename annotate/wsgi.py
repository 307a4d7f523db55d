"""What gunicorn serves."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from annotate.lib.waiting import bound_waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

application = get_wsgi_application()
bound_waiting()
# All that pages are made with is loaded now, and not by the first visitor.
_ = get_resolver().url_patterns
# It stays for good: looking through it for garbage would hold up every request for a twentieth of a second at times.
gc.collect()
gc.freeze()
