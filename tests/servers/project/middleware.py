"""Middleware of the project."""

import time

from django.http import HttpResponse


def doorkeeper(get_response):
    """Refuse or delay by path."""

    def middleware(request):
        if request.path == "/too-many/":
            return HttpResponse("come back later", status=429, content_type="text/plain")
        if request.path == "/slow-handshake/":
            time.sleep(0.5)
        response = get_response(request)
        response["X-Doorkeeper"] = "passed"
        return response

    return middleware
