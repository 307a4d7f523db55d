from rest_framework.pagination import LimitOffsetPagination


class Pages(LimitOffsetPagination):
    """?limit= and ?offset=. A page is built in memory, so there is a longest one."""

    max_limit = 1000
