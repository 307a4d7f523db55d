import gc
import os

import django
from django.template import engines
from django.urls import get_resolver

from annotate.lib.requests import Handler
from annotate.lib.waiting import bound_waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

django.setup(set_prefix=False)
application = Handler()
bound_waiting()
# Django searches for template tags only once, and would miss them if no file can be opened then.
_ = get_resolver().url_patterns, engines.all()
# Garbage collection would delay requests by a twentieth of a second.
gc.collect()
gc.freeze()
