from rest_framework.pagination import LimitOffsetPagination


class Pages(LimitOffsetPagination):
    """Pages by ?limit= and ?offset=. A page is built in memory, so its length is limited."""

    max_limit = 1000
