"""Django alone, for the time that it takes to start."""

from .project import setup

setup(__name__)

from django.core.asgi import get_asgi_application  # noqa: E402

urlpatterns = []
application = get_asgi_application()
