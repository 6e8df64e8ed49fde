"""A middleware as projects have them: synchronous, short, and unknown to everybody else."""

from django.utils.deprecation import MiddlewareMixin


class OwnMiddleware(MiddlewareMixin):
    """Put something on the request."""

    def process_request(self, request):
        """Count how many of these have seen the request."""
        request.seen = getattr(request, "seen", 0) + 1
