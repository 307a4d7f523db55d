"""README.md and docs/operations.md promise nothing that no test covers, and name nothing that does not exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from annotate.launch.bootstrap import start_arguments

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()

# The bullets of both, by the words that they begin with, each with the tests that show it.
PROMISES = {
    "You import": ("pools/test_import.py::test_every_line_is_taken_or_refused_and_the_report_says_which",),
    "Labelers work in three": ("tour/test_day.py::test_a_day_from_a_sampling_run_to_files_that_train",),
    "You register the model that you train, called the": (
        "models_worker/test_runner.py::test_a_run_is_sampled_whole_and_wakes_whoever_makes_ranking_tasks",
        "models_worker/test_runner.py::test_a_policy_with_an_adapter_names_both_and_neither_may_change",
        "models_worker/test_engine_server.py::test_a_request_is_one_completion_with_its_own_seed_and_key",
        "models_worker/test_engine_probe.py::test_vllm_is_asked_and_repeats_its_samples",
    ),
    "Reviewers check a share of the answers. The": (
        "tour/test_day.py::test_a_day_from_a_sampling_run_to_files_that_train",
    ),
    "You": ("tour/test_day.py::test_a_day_from_a_sampling_run_to_files_that_train",),
    "No answer too many, no text lost.": (
        "work/test_races.py::test_eight_labelers_share_a_campaign_without_one_answer_too_many_or_too_few",
        "work/test_model.py::test_people_in_any_order_never_break_the_books",
        "desk/test_drafts.py::test_the_draft_comes_back_with_the_task_after_a_break",
        "browser/test_network.py::test_a_submit_without_a_connection_is_sent_when_it_is_back",
        "browser/test_network.py::test_a_browser_that_was_closed_and_opened_again",
        "tour/test_under_load.py::test_a_crowd_loses_and_doubles_nothing_while_each_part_is_killed",
    ),
    "A queue of a million tasks.": (
        "work/test_orders.py::test_no_order_costs_a_verb_more",
        "browser/test_ahead.py::test_the_next_task_comes_out_of_the_browser_and_is_the_labelers_for_its_whole_lease",
        "desk/test_undo.py::test_the_text_is_in_the_form_again_and_counts_no_more",
        "desk/test_time.py::test_the_heartbeat_tells_the_time_and_the_answer_keeps_it",
    ),
    "Labelers judge blind.": (
        "desk/test_blind.py::test_every_response_of_a_whole_ranking_is_blind",
        "rankings/test_showing.py::test_the_order_is_stored_before_anything_is_shown",
    ),
    "Ties are allowed.": (
        "rankings/test_submit.py::test_ties_are_stored_and_ranks_have_no_gaps",
        "rankings/test_submit.py::test_an_untouched_page_is_no_answer",
    ),
    "Completions can be traced.": ("models_worker/test_runner.py::test_a_completion_names_all_that_made_it",),
    "Training and validation data never mix.": (
        "pools/test_quarantine.py::test_sixty_customers_whose_texts_meet_stay_in_one_group_each",
        "pools/test_quarantine.py::test_two_who_add_prompts_at_once_put_nothing_on_both_sides",
        "exports/test_audit_splits.py::test_edits_belong_to_the_owner_of_their_original",
        "exports/test_splits.py::test_a_customer_on_both_sides_fails_whatever_the_file_and_the_group",
        "exports/test_leaks.py::test_a_blocked_export_is_unblocked_from_its_own_page",
    ),
    "DATABASE_URL=postgresql://user:password@host/name": (
        "launch/test_start.py::test_a_database_that_does_not_answer_is_told",
        "launch/test_embedded_postgres.py::test_no_text_of_a_person_reaches_the_log_also_with_a_folder_of_an_earlier_version",
    ),
    "PREPARED_STATEMENTS=0": ("lib/test_pooler.py::test_a_labelers_work",),
    "CELERY_BROKER_URL=redis://host:6379/0": (
        "broker/test_redis.py::test_a_worker_killed_in_the_middle_of_an_import_loses_and_doubles_nothing",
        "broker/test_redis.py::test_an_import_that_nobody_announced_is_found_by_the_sweep",
    ),
    "SECRET_KEY": (
        "launch/test_start.py::test_secrets_are_made_once_for_this_user_alone",
        "pools/test_add_prompt.py::test_the_split_is_drawn_once_whatever_the_settings_say_later",
    ),
    "DB_CONNECT_TIMEOUT": (
        "launch/test_web_limits.py::test_static_files_do_not_wait_and_pages_say_when_to_try_again",
        "launch/test_web_limits.py::test_a_lock_that_is_not_given_back_is_not_waited_for",
    ),
    "REQUEST_TIMEOUT": (
        "launch/test_slow_clients.py::test_headers_that_come_byte_by_byte_hold_nobody",
        "launch/test_slow_clients.py::test_bodies_that_do_not_come_hold_nobody",
        "launch/test_slow_clients.py::test_clients_that_do_not_read_hold_nobody",
    ),
    "ALLOWED_HOSTS": ("accounts/test_https.py::test_with_https_pages_and_cookies_go_over_tls_only",),
    "EMAIL_HOST": (
        "accounts/test_links.py::test_a_mail_server_is_what_the_operator_names",
        "accounts/test_links.py::test_without_a_mail_server_nothing_is_made_sent_or_promised",
    ),
    "SERVER_HOSTS": ("models_worker/test_probing.py::test_a_host_is_allowed_with_or_without_its_port",),
    "VAR_DIR": ("launch/test_start.py::test_it_comes_up_goes_down_and_comes_back_with_its_data",),
}
BULLET = re.compile(r"^(?:-|\d\.) (?:\*\*(.+?)\*\*|`(.+?)`|([^*`\n]+?) [*`])", re.MULTILINE)
SETTINGS = OPERATIONS.split("## Settings")[1].split("\n## ")[0]
BULLETS = [next(filter(None, found)) for found in BULLET.findall(README + SETTINGS)]
COMMANDS = re.findall(r"manage\.py (\w+)([^\n#`]*)", README + OPERATIONS)
MEASURED = re.findall(r"^\| ([^|]*\d[^|]*) \| ([^|]*\d[^|]*) \|$", README, re.MULTILINE)


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_bullet_names_the_tests_that_show_it():
    assert list(PROMISES) == BULLETS


@pytest.mark.parametrize("named", [test for tests in PROMISES.values() for test in tests])
def test_every_named_test_is_there(named):
    file, _, name = named.partition("::")
    assert name in functions_of(file)


@pytest.mark.parametrize(("name", "rest"), COMMANDS, ids=[name for name, _rest in COMMANDS])
def test_every_command_is_there_with_its_options(name, rest):
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    assert set(re.findall(r"--[a-z-]+", rest)) <= set(parser._option_string_actions)


def test_bin_start_takes_every_option_that_is_named(capsys):
    section = README.split("## Two commands")[1].split("\n## ")[0]
    named = set(re.findall(r"--[a-z-]+", section))
    with pytest.raises(SystemExit):
        start_arguments(["--help"])
    assert named
    assert named <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_every_figure_of_the_readme_is_one_of_the_benchmarks():
    figures = {figure for row in MEASURED for cell in row for figure in re.findall(r"\b\d[\d,.]*\d\b", cell)}
    assert len(figures) > 10
    assert [figure for figure in sorted(figures) if figure not in (ROOT / "docs/benchmarks.md").read_text()] == []


def test_every_file_that_is_named_is_there():
    text = README + OPERATIONS
    folders = "bin|docs|annotate|models_worker|exports|templates|static|tests|bench|requirements"
    paths = re.findall(rf"`((?:{folders})/[\w./]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("file", "variable"),
    [("docs/operations.md", r"`([A-Z][A-Z_]{3,})(?:=|`)"), (".env.example", r"^#?([A-Z][A-Z_]+)=")],
)
def test_every_variable_that_is_named_is_read_somewhere(file, variable):
    rooms = ("annotate", "models_worker", "exports")
    code = "\n".join(path.read_text() for room in rooms for path in (ROOT / room).rglob("*.py"))
    named = set(re.findall(variable, (ROOT / file).read_text(), re.MULTILINE))
    assert named
    # SERVER_KEY_EXAMPLE stands for any name that begins so.
    assert [name for name in sorted(named) if f'"{name}"' not in code and not name.startswith("SERVER_KEY_")] == []
