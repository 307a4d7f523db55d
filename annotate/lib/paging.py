from typing import TypeVar

from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)


def page_of(request: HttpRequest, rows: QuerySet[Row], *, size: int = 25) -> "Page[Row]":
    return Paginator(rows, size).get_page(request.GET.get("page"))


def back_to(address: str, request: HttpRequest) -> str:
    page = request.POST.get("page", "")
    return f"{address}?page={page}" if page.isdecimal() else address
