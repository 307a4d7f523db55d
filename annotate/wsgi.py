"""What gunicorn serves."""

import gc
import os

import django
from django.urls import get_resolver

from annotate.lib.requests import Handler
from annotate.lib.waiting import bound_waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

django.setup(set_prefix=False)
application = Handler()
bound_waiting()
# All that pages are made with is loaded now, and not by the first visitor.
_ = get_resolver().url_patterns
# It stays for good: looking through it for garbage would hold up every request for a twentieth of a second at times.
gc.collect()
gc.freeze()
