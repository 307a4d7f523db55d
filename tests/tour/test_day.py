"""The day of docs/tour.md, in a real browser against the platform as bin/start brings it up."""

import json

import datasets
import pytest
from playwright.sync_api import Browser, expect

from annotate.studio.views.review import ACCEPTED
from exports.agreement.bootstrap import PROMPTS_NEEDED
from tests.tour.people import at_work, begin, candidates, rank_by_keys, submit_and_stop
from tests.tour.platform import Platform, eventually

pytestmark = pytest.mark.browser
DEMONSTRATION = "Gravity is the pull between things that have mass, and it keeps your feet on the ground."


def test_a_day_from_a_sampling_run_to_files_that_train(browser: Browser, platform: Platform, tmp_path):
    sample(browser, platform)
    demonstrate(browser, platform)
    rank(browser, platform)
    write_an_instruction(browser, platform)
    review(browser, platform)
    look_at_agreement(browser, platform)
    files = export(browser, platform, tmp_path)
    load(files)


def sample(browser: Browser, platform: Platform) -> None:
    with at_work(browser, platform, "manager") as page:
        page.get_by_role("link", name="Sampling").first.click()
        page.get_by_role("link", name="Start a sampling run").first.click()
        page.get_by_label("Pool", exact=False).first.select_option(label="Demonstration prompts")
        page.get_by_role("button", name="Start the run").click()
        # The page follows the run by itself.
        expect(page.locator("[data-state=done]").first).to_be_visible(timeout=120_000)
    wanted = platform.value("SELECT count(*) * 4 FROM samples_samplerequest")
    assert platform.value("SELECT count(*) FROM samples_completion") == wanted
    # Slates open by themselves, one for each prompt with four different completions.
    eventually(lambda: platform.value("SELECT count(*) FROM rankings_candidate") >= 4 * 30)


def demonstrate(browser: Browser, platform: Platform) -> None:
    with at_work(browser, platform, "labeler") as page:
        begin(page, "Write answers")
        page.get_by_label("Your answer").fill(DEMONSTRATION)
        submit_and_stop(page)
    assert platform.rows("SELECT text FROM demonstrations_demonstration") == [(DEMONSTRATION,)]


def rank(browser: Browser, platform: Platform) -> None:
    rank_one(browser, platform, "labeler")
    # The first labeler may have prefetched another task. It comes back to the front of the queue, so the second labeler
    # gets it before the one that the two share.
    for _ in range(2):
        rank_one(browser, platform, "labeler2")
        if shared_slates(platform):
            break
    assert shared_slates(platform) == 1
    rankings = platform.rows("SELECT array_agg(p.rank ORDER BY p.rank) FROM rankings_placing p GROUP BY p.ranking_id")
    assert {tuple(ranks[:3]) for (ranks,) in rankings} == {(1, 1, 2)}


def rank_one(browser: Browser, platform: Platform, login: str) -> None:
    with at_work(browser, platform, login, platform.password("labeler")) as page:
        begin(page, "Rank completions")
        number = candidates(page)
        # A tie for the first place.
        places = [1, 1, *range(2, number)]
        rank_by_keys(page, places, [6, 6, *[3] * (number - 2)])
        submit_and_stop(page)


def shared_slates(platform: Platform) -> int:
    """The number of slates that two labelers have ranked."""
    return platform.value("""
        SELECT count(*) FROM (
            SELECT FROM work_assignment slot JOIN rankings_ranking ranking ON ranking.assignment_id = slot.id
            GROUP BY slot.task_id HAVING count(*) = 2
        ) AS shared
    """)


def write_an_instruction(browser: Browser, platform: Platform) -> None:
    with at_work(browser, platform, "labeler") as page:
        begin(page, "Write instructions")
        page.get_by_label("Instruction", exact=True).fill("Describe a sound that only old houses make.")
        page.get_by_label("Use case", exact=True).select_option("generation")
        submit_and_stop(page)


def review(browser: Browser, platform: Platform) -> None:
    with at_work(browser, platform, "reviewer") as page:
        expect(page.get_by_role("row").filter(has_text="Write instructions")).to_be_visible()
        page.get_by_role("link", name="Start with the oldest").click()
        # The instruction, and the demonstration in the one of five cases in which it is drawn for review.
        for _ in range(platform.value("SELECT count(*) FROM work_assignment WHERE state = 'submitted'")):
            page.get_by_role("button", name="Accept").click()
            expect(page.get_by_text(str(ACCEPTED))).to_be_visible()
            page.goto(page.url)
        expect(page.locator("[data-fact=nothing-waits]")).to_be_visible()
    accepted = platform.rows("SELECT text, source FROM pools_prompt WHERE author_id IS NOT NULL")
    assert accepted == [("Describe a sound that only old houses make.", "labeler")]


def look_at_agreement(browser: Browser, platform: Platform) -> None:
    with at_work(browser, platform, "manager") as page:
        page.get_by_role("link", name="Agreement").first.click()
        # Two labelers ranked one slate; the page says how many that is, and that it is too few to go by.
        expect(page.get_by_role("row", name="labeler · labeler2")).to_be_visible()
        expect(page.locator("[data-insufficient]")).to_contain_text(str(PROMPTS_NEEDED))


def export(browser: Browser, platform: Platform, folder) -> dict[str, str]:
    with at_work(browser, platform, "manager") as page:
        page.get_by_role("link", name="Exports").first.click()
        page.get_by_role("link", name="New export").first.click()
        expect(page.get_by_role("button", name="Export", exact=True)).to_be_visible()
        for box in page.get_by_role("checkbox").all():
            box.check()
        page.get_by_role("button", name="Export", exact=True).click()
        expect(page.locator("[data-state=done]").first).to_be_visible(timeout=60_000)
        files = {}
        for link in page.locator("a[download]").all():
            with page.expect_download() as download:
                link.click()
            name = link.inner_text().strip()
            files[name] = str(folder / name)
            download.value.save_as(files[name])
    return files


def load(files: dict[str, str]) -> None:
    """As a training script does."""
    with open(files["manifest.json"]) as file:
        manifest = json.load(file)
    for fact in manifest["files"]:
        rows = datasets.load_dataset("json", data_files=files[fact["name"]], split="train")
        assert rows.num_rows == fact["rows"] > 0
    sft = [name for name in files if name.startswith("sft_")]
    texts = [
        row["completion"][0]["content"]
        for name in sft
        for row in datasets.load_dataset("json", data_files=files[name], split="train")
    ]
    assert DEMONSTRATION in texts
    assert any(name.startswith("rm_") for name in files)
    assert any(name.startswith("ppo_") for name in files)
