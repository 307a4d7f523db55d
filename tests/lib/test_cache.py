"""The cache that limits of the login count in: nothing is forgotten before its time."""

import threading
import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.utils import timezone

from annotate.accounts.tasks import sweep

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty(db):
    """The table is no model's, so what a test with real transactions puts there stays for the next ones."""
    cache.clear()


def rows():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM cache")
        return cursor.fetchone()[0]


def test_no_value_makes_room_for_another():
    for number in range(700):
        cache.set(f"name{number}", [number], 300)
    assert [cache.get(f"name{number}") for number in range(700)] == [[number] for number in range(700)]


def test_a_value_lasts_until_its_very_end(monkeypatch):
    """Not until the second before, as with times that are rounded down."""
    cache.set("locked", 1, 10)
    begin = timezone.now()
    for seconds, expected in ((9.9, 1), (10.1, None)):
        monkeypatch.setattr(timezone, "now", lambda seconds=seconds: begin + timedelta(seconds=seconds))
        assert cache.get("locked") == expected


def test_what_has_expired_is_deleted_by_the_sweep_and_nothing_else_is():
    cache.set("old", 1, -60)
    cache.set("young", 2, 60)
    cache.set("for-good", 3, None)
    assert rows() == 3
    sweep()
    assert rows() == 2
    assert cache.get_many(["old", "young", "for-good"]) == {"young": 2, "for-good": 3}


def test_an_add_takes_the_place_of_an_expired_value_and_of_no_other():
    assert cache.add("lock", 1, 60)
    assert not cache.add("lock", 2, 60)
    assert cache.get("lock") == 1
    cache.set("lock", 1, -60)
    assert cache.add("lock", 3, 60)
    assert cache.get("lock") == 3


def test_a_touch_prolongs_what_is_there():
    assert not cache.touch("name", 60)
    cache.set("name", 1, 1)
    assert cache.touch("name", 60)
    time.sleep(1.1)
    assert cache.get("name") == 1
    cache.delete("name")
    assert "name" not in cache


def test_a_write_that_fails_says_so():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cache ADD CONSTRAINT refused CHECK (cache_key NOT LIKE '%%refused%%')")
    with pytest.raises(DatabaseError):
        cache.set("refused", 1, 60)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("expired", [False, True])
def test_of_several_that_want_a_lock_one_gets_it(expired):
    if expired:
        cache.set("lock", 0, -60)
    barrier, got = threading.Barrier(8), []

    def want():
        barrier.wait()
        if cache.add("lock", 1, 60):
            got.append(1)
        connection.close()

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.clear()
    assert got == [1]
