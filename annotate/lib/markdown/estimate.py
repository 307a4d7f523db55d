import math
import re

from annotate.lib.markdown.characters import hidden_in

# Each level costs another pass.
MAX_DEPTH = 8
# In units of annotate.lib.budget, which allows twelve texts.
MAX_COST = 12_000
UNIT_CHARACTERS = 10
OPENERS = re.compile(r"\n(?:[ \t]*+(?:[-*+>]|\#{1,6}+|[0-9]{1,9}+[.)])[ \t]++)++")
INDENTED = re.compile(r"\n[ \t]++")
MAX_LEAD = 2 * MAX_DEPTH + 2


def cost(text: str, enough: float = math.inf) -> int:
    """Estimate the units of annotate.lib.budget. Skips slow counts beyond `enough`.

    bench/rendering.py measures the weights and searches for the text that exceeds its estimate the most.
    """
    units = len(text) / UNIT_CHARACTERS + 1.2 * text.count("\n") + 3 * text.count("\n\n")
    units += 3.5 * (text.count("*") - text.count("**")) + 2.5 * text.count("`") + 3.5 * text.count("|")
    units += 8 * text.count("](") + 7 * (text.count("<http") + text.count("<mailto:"))
    units += 0.6 * sum(text.count(character) for character in "<>&") + 3 * text.count("~~~")
    if units > enough:
        return int(units) + 1
    lines = "\n" + text
    for lead in OPENERS.findall(lines):
        units += 9 * min(MAX_DEPTH + 1, len(lead.split())) + 0.7 * min(MAX_LEAD, len(lead))
    units += sum(0.7 * min(MAX_LEAD, len(lead)) for lead in INDENTED.findall(lines))
    hidden = hidden_in(text)
    if hidden.search(text):
        units += 2 * len(hidden.findall(text))
    return int(units) + 1
