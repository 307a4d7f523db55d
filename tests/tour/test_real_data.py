"""Real prompts and eight real models' outputs, ranked eight ways by three labelers, exported and counted."""

import json
from math import comb
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.shared import SHARED, needs_shared
from tests.tour.people import at_work, begin, candidates, rank_by_keys
from tests.tour.platform import Platform, eventually

pytestmark = [pytest.mark.browser, needs_shared]
DATA = SHARED / "data" / "self_instruct"
CAMPAIGN = "Eight models"
RANKED = 4
# Of eight candidates: two ties, so that 28 pairs become 26.
PLACES = (3, 1, 2, 2, 5, 4, 1, 8)
RATINGS = (4, 7, 6, 6, 3, 4, 7, 1)


def test_eight_models_ranked_by_three_labelers_and_counted(browser: Browser, platform: Platform, tmp_path: Path):
    prompts = import_everything(platform)
    third = invite_a_third_labeler(browser, platform)
    open_campaign(browser, platform)
    eventually(lambda: slates(platform) >= 200, seconds=90)
    made = 0
    for login, password in (("labeler", None), ("labeler2", platform.password("labeler")), third):
        with at_work(browser, platform, login, password) as page:
            made += rank_some(page)
    platform.manage("export", CAMPAIGN, "--out", str(tmp_path / "export"))
    count(tmp_path / "export", rankings=made, prompts=prompts)
    report = json.loads(platform.manage("agreement", CAMPAIGN, "--json"))
    assert report


def import_everything(platform: Platform) -> int:
    platform.manage("import_prompts", "Self-Instruct", str(DATA / "user_oriented_instructions.jsonl"), "--create")
    for file in sorted(DATA.glob("predictions_*.jsonl")):
        platform.manage("import_completions", "Self-Instruct", str(file))
    pool = "FROM pools_prompt p JOIN pools_pool o ON o.id = p.pool_id WHERE o.name = 'Self-Instruct'"
    prompts = platform.value(f"SELECT count(*) {pool}")
    models = platform.value(
        "SELECT count(DISTINCT c.policy_id) FROM samples_completion c JOIN pools_prompt p ON p.id = c.prompt_id"
        " JOIN pools_pool o ON o.id = p.pool_id WHERE o.name = 'Self-Instruct'"
    )
    assert (prompts, models) == (252, 8)
    return prompts


def invite_a_third_labeler(browser: Browser, platform: Platform) -> tuple[str, str]:
    login, password = "carla", "a-password-of-her-own"
    with at_work(browser, platform, "manager") as page:
        page.goto("/studio/people/invite/")
        page.get_by_label("User name").fill(login)
        page.get_by_role("button", name="Invite").click()
        link = page.get_by_label("Link", exact=True).input_value()
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    expect(page.get_by_role("button", name="Set the password")).to_be_visible()
    for field in page.locator("input[type=password]").all():
        field.fill(password)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("button", name="Set the password")).to_have_count(0)
    context.close()
    return login, password


def open_campaign(browser: Browser, platform: Platform) -> None:
    with at_work(browser, platform, "manager") as page:
        page.goto("/studio/campaigns/new/rankings/")
        page.get_by_label("Name", exact=True).fill(CAMPAIGN)
        page.get_by_label("Pool", exact=True).select_option(label="Self-Instruct")
        page.get_by_label("Guideline", exact=True).select_option(label="Ranking answers")
        page.get_by_label("Answers per task").fill("3")
        page.get_by_role("button", name="Create").click()
        page.get_by_role("link", name="Open", exact=True).click()
        page.get_by_role("button", name="Open it").click()
        expect(page.get_by_role("link", name="Pause")).to_be_visible()
    assert platform.value("SELECT state FROM work_campaign WHERE name = %s", CAMPAIGN) == "open"


def slates(platform: Platform) -> int:
    return platform.value(
        "SELECT count(DISTINCT c.task_id) FROM rankings_candidate c JOIN work_task t ON t.id = c.task_id"
        " JOIN work_campaign w ON w.id = t.campaign_id WHERE w.name = %s",
        CAMPAIGN,
    )


def rank_some(page: Page) -> int:
    begin(page, CAMPAIGN)
    for left in reversed(range(RANKED)):
        number = candidates(page)
        assert 4 <= number <= 8
        rank_by_keys(page, PLACES[:number], RATINGS[:number])
        before = page.url
        page.get_by_role("button", name="Submit, next task" if left else "Submit and stop").click()
        expect(page).not_to_have_url(before)
    return RANKED


def count(folder: Path, *, rankings: int, prompts: int) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    lines = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in folder.glob("*.jsonl")}
    ranked = [row for name, rows in lines.items() if name in ("rm_train.jsonl", "rm_valid.jsonl") for row in rows]
    assert len(ranked) == rankings
    assert {len(row["ranks"]) for row in ranked} >= {8}
    for row in ranked:
        number = len(row["ranks"])
        ties = sum(
            row["ranks"][one] == row["ranks"][other] for one in range(number) for other in range(one + 1, number)
        )
        assert len(row["pairs"]) == comb(number, 2) - ties
    pairs = sum(len(rows) for name, rows in lines.items() if name.startswith("rm_pairs_"))
    assert pairs == sum(len(row["pairs"]) for row in ranked)
    ppo = sum(len(rows) for name, rows in lines.items() if name.startswith("ppo_"))
    # Each of these prompts was written for a product, so each is a customer's.
    assert ppo == prompts == sum(split["ppo_customer"] for split in manifest["prompts"].values())
