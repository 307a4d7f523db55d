"""Moves are the only code that changes a slot's state, and the SQL files agree with the models and the enums."""

import ast
import re
from pathlib import Path

import pytest
from django.db import transaction

from annotate.lib.sql import load_statements
from annotate.work import eligibility, queue, slots
from annotate.work.models import Assignment, Event
from annotate.work.moves import Columns, MoveCounts, Sql, move, move_all
from annotate.work.shapes import CAMPAIGN, DRAFT, SLOT
from annotate.work.states import CampaignState, Move, State
from tests.work.conftest import NOW

ROOT = Path(__file__).resolve().parents[2]
CODE = [path for package in ("annotate", "exports") for path in sorted((ROOT / package).rglob("*.py"))]
CODE = [path for path in CODE if "migrations" not in path.parts]
SQL_FILES = sorted((ROOT / "annotate/work/sql").glob("*.sql"))
COMPARED = re.compile(r"(\w+\.?state|event\.move)(?: \|\| '')? (?:=|<>|IN) (\(?'[^)\n]*?'\)?)(?=[\s,)]|$)")
CONDITION = re.compile(r"NOT EXISTS \(\s*SELECT FROM work_assignment mine.*?ORDER BY", re.DOTALL)
# The assignments of an UPDATE of slots, up to its conditions.
ASSIGNED = re.compile(r"UPDATE\s+work_assignment\b[^;]*?\bSET\b(.*?)(?:\bFROM\b|\bWHERE\b|\bRETURNING\b|$)", re.DOTALL)


def statements(path):
    return load_statements(path, slot=SLOT, campaign=CAMPAIGN, draft=DRAFT)


def queryset_changes(source):
    """Calls that update slots through a query set, with `state` or with columns that are not named."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        receiver, names = ast.unparse(node.func.value), {keyword.arg for keyword in node.keywords}
        of_slots = any(name in receiver for name in ("Assignment", "assignments", "slots"))
        updates = node.func.attr == "update" and names & {"state", None}
        if of_slots and (updates or node.func.attr == "bulk_update"):
            yield ast.unparse(node)


def test_no_other_code_changes_the_state_of_a_slot():
    changes = [(str(path.relative_to(ROOT)), change) for path in CODE for change in queryset_changes(path.read_text())]
    assert changes == []
    by_sql = [
        str(path.relative_to(ROOT))
        for path in [*CODE, *(ROOT / "annotate").rglob("*.sql")]
        for assigned in ASSIGNED.findall(path.read_text())
        if re.search(r"\bstate\b\s*=|\{columns\}", assigned)
    ]
    assert set(by_sql) == {"annotate/work/sql/moves.sql"}
    # Columns that callers of `move` choose cannot include the state.
    assert "state" not in Columns.__annotations__
    assert set(Columns.__annotations__) <= {field.attname for field in Assignment._meta.concrete_fields}


@pytest.mark.parametrize(
    "source",
    [
        "Assignment.objects.filter(id=1).update(state=State.OPEN)",
        "task.assignments.update(**columns)",
        "Assignment.objects.bulk_update(rows, ['state'])",
    ],
)
def test_the_check_finds_other_changes(source):
    assert list(queryset_changes(source))


@pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: path.stem)
def test_states_and_moves_in_sql_are_in_the_enums(path):
    for text in statements(path).values():
        for name, values in COMPARED.findall(text):
            known = Move if name == "event.move" else CampaignState if name == "campaign.state" else State
            assert set(re.findall(r"'(\w+)'", values)) <= set(known.values), (name, values)
        for case in re.findall(r"(?:THEN|ELSE) '(\w+)'", text):
            assert case in State.values


@pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: path.stem)
def test_every_statement_is_used_and_every_used_one_exists(path):
    source = (ROOT / f"annotate/work/{path.stem}.py").read_text()
    names = set(statements(path))
    used = set(re.findall(r"""SQL\[["'](\w+)["']\]""", source)) | set(re.findall(r'_run\("(\w+)"', source))
    used |= {name for pair in re.findall(r'SQL\["(\w+)" if \w+ else "(\w+)"\]', source) for name in pair}
    assert used == names


def test_every_search_has_the_same_conditions():
    searches = [text for text in statements(ROOT / "annotate/work/sql/queue.sql").values() if "work_skip" in text]
    conditions = [re.sub(r"\s+", " ", CONDITION.search(text)[0]) for text in searches]
    later = " AND NOT (%(or_later)s AND mine.state = 'leased' AND mine.rounds = 0)"
    assert len(conditions) == 4
    assert len({condition.replace(later, "") for condition in conditions}) == 1


def test_a_claim_reads_the_eligibility_that_its_own_statement_reads():
    lines = [line.strip() for line in eligibility.SQL["eligibility"].splitlines()[1:-1]]
    entered = queue.SQL["enter"]
    assert [line for line in lines if line.rstrip(",") not in entered] == []


def test_the_loader_leaves_casts_and_quoted_colons(tmp_path):
    file = tmp_path / "some.sql"
    one = "-- name: one\n-- Why.\nSELECT ':no', a::text, 10 % 3, :value::int\n"
    file.write_text(f"-- About.\n\n{one}\n-- name: two\nSELECT 2;\n")
    assert load_statements(file) == {"one": "SELECT ':no', a::text, 10 %% 3, %(value)s::int", "two": "SELECT 2"}


def test_many_slots_move_together_with_their_events(open_desk):
    desk = open_desk(tasks=3)
    held = desk.claim(desk.labeler())
    first = Assignment.objects.filter(state=State.OPEN).order_by("id")[0]
    with transaction.atomic():
        move(slot=first, steps=[Move.STOP], actor=None, now=NOW)
    everything = Sql("SELECT id FROM work_assignment WHERE campaign_id = %(campaign)s", {"campaign": desk.campaign.id})
    with transaction.atomic():
        counts = move_all(selected=everything, steps=slots.CANCEL_FREE, actor=None, now=NOW, limit=10)
    assert counts == MoveCounts(selected=3, moved=2)
    assert Assignment.objects.get(id=held.id).state == State.LEASED
    assert list(Assignment.objects.exclude(id=held.id).values_list("state", flat=True)) == [State.CANCELLED] * 2
    written = Event.objects.filter(assignment=first).order_by("id").values_list("move", flat=True)
    assert list(written) == [Move.STOP, Move.RESTART, Move.CANCEL]


def test_many_slots_move_only_along_the_moves_and_in_a_transaction(open_desk):
    desk = open_desk()
    values = {"selected": slots.free_of_campaign(desk.campaign), "actor": None, "now": NOW, "limit": 10}
    with transaction.atomic(), pytest.raises(ValueError, match="starts from"):
        move_all(steps={State.OPEN: [Move.RESTART]}, **values)
    with transaction.atomic(), pytest.raises(ValueError, match="unpack"):
        move_all(steps={State.OPEN: [Move.CANCEL], State.STOPPED: [Move.RESTART]}, **values)
    assert Assignment.objects.get().state == State.OPEN
