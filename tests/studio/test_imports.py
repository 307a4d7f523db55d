"""A manager hands a file over and reads what became of each line."""

import json
from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from annotate.accounts.models import Role
from annotate.pools import tasks
from annotate.pools.actions import AlreadyDecided
from annotate.pools.importers import jobs, prompts
from annotate.pools.models import ImportJob, ImportState, Prompt
from tests import factories as make
from tests.studio.conftest import client_of, words


def jsonl(*rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


def upload(content, name="prompts.jsonl"):
    return SimpleUploadedFile(name, content)


def started(pool, *rows):
    data = BytesIO(jsonl(*rows))
    return jobs.store(
        pool=pool, kind="prompts", file_name="p.jsonl", data=data, defaults={}, by=None, now=timezone.now()
    )


def run(job):
    jobs.run(job_id=job.id, take=prompts.take, clock=timezone.now)


@pytest.mark.django_db
def test_a_file_becomes_a_job_that_a_worker_is_woken_for(
    studio, manager, monkeypatch, django_capture_on_commit_callbacks
):
    sent = []
    monkeypatch.setattr("annotate.lib.wake.app.send_task", lambda task, args, **_: sent.append((task, args)))
    pool = make.pool()
    form = {"content": "prompts", "source": "customer", "language": "en", "file": upload(jsonl({"prompt": "Hello?"}))}
    with django_capture_on_commit_callbacks(execute=True):
        response = studio.post(reverse("studio:import-new", args=[pool.id]), form)
    job = ImportJob.objects.get()
    assert response.url == reverse("studio:import", args=[job.id])
    assert (job.pool, job.created_by, job.file_name, job.state) == (pool, manager, "prompts.jsonl", ImportState.WAITING)
    assert job.defaults["source"] == "customer"
    assert sent == [("pools.run_import", (job.id,))]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "empty"), (b"\xff\xfe\x00", "UTF-8")],
)
@pytest.mark.django_db
def test_a_file_that_cannot_be_read_is_refused_at_its_field(studio, content, complaint):
    pool = make.pool()
    response = studio.post(
        reverse("studio:import-new", args=[pool.id]), {"content": "prompts", "file": upload(content)}
    )
    assert complaint in " ".join(response.context["form"].errors["file"])
    assert not ImportJob.objects.exists()


@pytest.mark.django_db
def test_progress_is_asked_for_until_the_end_and_then_the_page_is_loaded(studio):
    job = started(make.pool(), {"prompt": "Hello?"}, {"prompt": "Who are you?"})
    part = reverse("studio:import-progress", args=[job.id])
    response = studio.get(part)
    assert f'hx-get="{part}"' in words(response)
    assert "0 of 2" in words(response)
    assert "HX-Refresh" not in response
    run(job)
    response = studio.get(part)
    assert "2 of 2" in words(response)
    assert "hx-get" not in words(response)
    assert response["HX-Refresh"] == "true"


@pytest.mark.django_db
def test_the_report_begins_with_what_was_refused(studio):
    job = started(make.pool(), {"prompt": "New"}, {"nothing": "here"})
    run(job)
    address = reverse("studio:import", args=[job.id])
    response = studio.get(address)
    assert [line.number for line in response.context["page"]] == [2]
    assert "There is no prompt" in words(response)
    response = studio.get(address, {"show": "taken"})
    assert [line.number for line in response.context["page"]] == [1]
    assert "New" in words(response)


@pytest.mark.django_db
def test_a_duplicate_is_refused_with_a_link_to_the_prompt_it_equals(studio):
    pool = make.pool()
    run(started(pool, {"prompt": "Hello?"}))
    job = started(pool, {"prompt": "Hello?"})
    run(job)
    text = words(studio.get(reverse("studio:import", args=[job.id])))
    assert reverse("studio:prompt", args=[pool.prompts.get().id]) in text
    assert "Refused (1)" in text


@pytest.mark.django_db
def test_a_long_report_is_paged_in_the_same_queries(studio, django_assert_num_queries):
    pool = make.pool()
    for lines in (1, 60):
        job = started(pool, *({"nothing": number} for number in range(lines)))
        run(job)
        # Session, user, job, count, lines.
        with django_assert_num_queries(5):
            page = studio.get(reverse("studio:import", args=[job.id])).context["page"]
    assert (len(page), page.paginator.num_pages) == (50, 2)


@pytest.fixture
def asking(db):
    """An import that waits for a decision about the field passage."""
    job = started(make.pool(), {"prompt": "Translate.", "passage": "Guten Tag"}, {"prompt": "Hello?"})
    tasks.run_import(job.id)
    job.refresh_from_db()
    return job


def decide(client, job, decision):
    return client.post(reverse("studio:import-decide", args=[job.id]), {"decision": decision})


def test_the_page_asks_about_each_field_whose_text_would_be_dropped(studio, asking):
    assert studio.get(reverse("studio:import-progress", args=[asking.id]))["HX-Refresh"] == "true"
    page = words(studio.get(reverse("studio:import", args=[asking.id])))
    assert 'id="question"' in page
    assert "<code>passage</code>" in page
    assert "Guten Tag" in page
    assert str(ImportState.ASKING.label) in page
    assert not Prompt.objects.exists()


def test_a_name_with_invisible_characters_does_not_look_like_the_one_that_is_used(studio):
    job = started(make.pool(), {"prompt": "Translate.", "source_user\u200b": "Acme"})
    tasks.run_import(job.id)
    page = words(studio.get(reverse("studio:import", args=[job.id])))
    assert "U+200B" in page


@pytest.mark.parametrize("decision", ["", "Drop", "yes"])
def test_a_decision_that_is_none_changes_nothing(studio, asking, decision):
    response = decide(studio, asking, decision)
    asking.refresh_from_db()
    assert (asking.state, asking.chunks.count()) == (ImportState.ASKING, 1)
    assert "Choose whether to import the file" in words(studio.get(response.url))


def test_whoever_decides_to_leave_the_fields_out_reads_it_in_the_report(
    studio, asking, monkeypatch, django_capture_on_commit_callbacks
):
    sent = []
    monkeypatch.setattr("annotate.lib.wake.app.send_task", lambda task, args, **_: sent.append((task, args)))
    with django_capture_on_commit_callbacks(execute=True):
        response = decide(studio, asking, "drop")
    assert response.url == reverse("studio:import", args=[asking.id])
    assert sent == [("pools.run_import", (asking.id,))]
    tasks.run_import(asking.id)
    page = words(studio.get(response.url))
    assert 'data-fact="left-out">passage' in page
    assert page.count(">passage") == 1
    assert "Imported (2)" in page


def test_whoever_cancels_imports_nothing_and_a_second_decision_changes_nothing(studio, asking):
    decide(studio, asking, "cancel")
    page = words(studio.get(reverse("studio:import", args=[asking.id])))
    assert 'data-fact="cancelled"' in page
    response = studio.post(reverse("studio:import-decide", args=[asking.id]), {"decision": "drop"}, follow=True)
    assert str(AlreadyDecided.message) in words(response)
    tasks.run_import(asking.id)
    assert not Prompt.objects.exists()


@pytest.mark.parametrize("role", [Role.LABELER, Role.REVIEWER])
def test_only_managers_decide(asking, role):
    assert decide(client_of(make.user(role)), asking, "drop").status_code == 403
    asking.refresh_from_db()
    assert asking.state == ImportState.ASKING


def test_the_reference_answer_is_on_the_prompts_page(studio):
    pool = make.pool()
    run(started(pool, {"instruction": "When?", "response": "In <1931>."}))
    page = words(studio.get(reverse("studio:prompt", args=[pool.prompts.get().id])))
    assert 'id="reference"' in page
    assert "In &lt;1931&gt;." in page
