import json
import math
from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant

from annotate.lib.objects import Repeated, each_once


def _finite(digits: str) -> float:
    """Python reads 1e400 as infinity, which fits no field. Raises ValueError."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(_("The number %(number)s is too large.") % {"number": digits[:50]})
    return number


class ShallowJSONParser(JSONParser):
    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, str] | None = None
    ) -> Any:
        encoding = (parser_context or {}).get("encoding", "utf-8")
        try:
            return json.loads(
                stream.read().decode(encoding),
                parse_constant=strict_constant,
                parse_float=_finite,
                object_pairs_hook=each_once,
            )
        except RecursionError:
            raise ParseError(_("This JSON is nested too deeply. Flatten it.")) from None
        except Repeated as repeated:
            raise ParseError(str(repeated)) from None
        except ValueError as error:
            raise ParseError(_("This is not valid JSON: %(error)s") % {"error": error}) from error
