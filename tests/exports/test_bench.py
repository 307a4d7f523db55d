"""What bench/exports.py fills a database with still fits the tables, and comes out again."""

import pytest
from django.db import connection

from annotate.work.models import Campaign
from bench.exports import FILL, TEXT
from exports.actions import write
from tests import factories as make


@pytest.mark.django_db
def test_the_bench_fills_what_it_exports(tmp_path):
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"n": 10, "k": 4, "text": TEXT})
    manifest = write(campaigns=[Campaign.objects.get()], out=tmp_path / "out", now=make.NOW)
    rows = {file["name"]: file["rows"] for file in manifest["files"]}
    assert rows["rm_train.jsonl"] + rows["rm_valid.jsonl"] == 10
    assert rows["rm_pairs_train.jsonl"] + rows["rm_pairs_valid.jsonl"] > 50
    assert rows["ppo_train.jsonl"] == 3
