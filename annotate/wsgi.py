"""What gunicorn serves."""

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
# All that pages are made with is loaded now, and not by the first visitor. Django looks for the tags of templates only
# once: where the process has no room for another file at that time, it would never find them.
_ = get_resolver().url_patterns, engines.all()
# It stays for good: looking through it for garbage would hold up every request for a twentieth of a second at times.
gc.collect()
gc.freeze()
