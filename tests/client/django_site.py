"""A site in one file, whose view calls the synchronous client. Gunicorn loads it, and forks after that.

The variable TARGET in the environment is the server's address.
"""

import os
import time

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from recstream.client import sync

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__)
django.setup()

# One client for the process. It is made before the fork, and connects in each worker.
client = sync.Client(os.environ["TARGET"])


def home(request: HttpRequest, user_id: str) -> HttpResponse:
    """Answers with the ids of a user's list, and the seconds of the call in the header `Took`."""
    began = time.perf_counter()
    films = client.recommend(user_id, count=10)
    took = time.perf_counter() - began
    return HttpResponse(" ".join(films.item_ids), headers={"Took": str(took)})


urlpatterns = [path("<user_id>", home)]
application = WSGIHandler()
