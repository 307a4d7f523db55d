"""Statements that are prepared once for a connection."""

import pytest
from django.db import ProgrammingError, connection, transaction

from annotate.accounts.models import User
from annotate.lib.prepared import Shape, execute
from annotate.pools.models import Prompt
from tests import factories as make

pytestmark = pytest.mark.django_db


def asked(statement, values):
    with connection.cursor() as cursor:
        execute(cursor, statement, values)
        return cursor.fetchall()


def prepared():
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


def test_a_statement_is_prepared_once_and_counts_as_one(django_assert_num_queries):
    words = "SELECT %s::int + %s::int, 'prepared once'"
    with django_assert_num_queries(2):
        assert asked(words, [1, 2]) == [(3, "prepared once")]
        assert asked(words, [3, 4]) == [(7, "prepared once")]
    assert len([statement for statement in prepared() if "prepared once" in statement]) == 1


def test_a_name_may_come_twice_and_a_percent_sign_stays_one():
    words = "SELECT %(a)s::int * 100 + %(b)s::int * 10 + %(a)s::int, '5 %% of it'"
    assert asked(words, {"b": 2, "a": 1, "unused": 9}) == [(121, "5 % of it")]


def test_a_statement_without_values_is_one_too():
    assert asked("SELECT 'no values'", []) == [("no values",)]


def test_a_text_is_a_value_whatever_it_says():
    said = "'); DROP TABLE work_event; -- \\ %s $1"
    assert asked("SELECT %s::text", [said]) == [(said,)]


def test_what_was_prepared_in_a_transaction_outlives_its_end():
    words = "SELECT %s::int, 'outlives'"
    with transaction.atomic():
        asked(words, [1])
        transaction.set_rollback(True)
    assert asked(words, [2]) == [(2, "outlives")]


def test_a_statement_that_cannot_be_prepared_is_not_taken_for_prepared():
    words = "SELECT %s::int FROM not_yet_there"
    with pytest.raises(ProgrammingError, match="not_yet_there"), transaction.atomic():
        asked(words, [1])
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE not_yet_there AS SELECT 1")
    assert asked(words, [3]) == [(3,)]


def test_switched_off_nothing_is_prepared(settings):
    settings.PREPARED_STATEMENTS = False
    assert asked("SELECT %(a)s::int, 'plain %%'", {"a": 1}) == [(1, "plain %")]
    assert not [statement for statement in prepared() if "plain" in statement]


def test_objects_are_those_of_the_orm():
    user, prompt = make.user(languages=["en", "sw"]), make.prompt(make.pool())
    person, asking = Shape(User, "person"), Shape(Prompt, "asking")
    (found,) = person.rows(f"SELECT {person.columns} FROM accounts_user person WHERE person.id = %s", [user.id])
    fields = [field.attname for field in User._meta.concrete_fields]
    stored = User.objects.get(id=user.id)
    assert [getattr(found, name) for name in fields] == [getattr(stored, name) for name in fields]
    found.first_name = "Changed"
    found.save()
    (row,) = asked(
        f"SELECT {asking.columns}, {person.columns}, 7 FROM pools_prompt asking"
        " LEFT JOIN accounts_user person ON person.id = %s WHERE asking.id = %s",
        [0, prompt.id],
    )
    again, rest = asking.made(row)
    assert again.messages == prompt.messages
    assert person.made_if_any(rest) == (None, (7,))


def test_a_column_that_comes_while_the_platform_runs_does_no_harm():
    user, person = make.user(), Shape(User, "person")
    words = f"SELECT {person.columns} FROM accounts_user person WHERE person.id = %s"
    assert person.rows(words, [user.id]) == [user]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_user ADD COLUMN shoe_size int NULL")
    assert person.rows(words, [user.id]) == [user]
