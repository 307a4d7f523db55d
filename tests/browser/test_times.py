"""A lease that ends at four in the afternoon ends then by the labeler's clock, wherever the server stands."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
TOKYO = ZoneInfo("Asia/Tokyo")


def there(at: datetime) -> str:
    return f"{at.astimezone(TOKYO):%H:%M}"


def test_times_are_those_of_the_readers_clock(world, visit):
    page = visit(world.ada, timezone_id="Asia/Tokyo").page
    page.goto(reverse("desk:task", args=[world.held[0].id]))
    world.held[0].refresh_from_db()
    expect(page.locator("[data-lease-until]")).to_contain_text(there(world.held[0].leased_until))
    page.goto(reverse("desk:answer", args=[world.answered[0].id]))
    expect(page.locator("time").first).to_have_text(f"{world.now.astimezone(TOKYO):%-d %b %Y}, {there(world.now)}")


def test_so_are_those_of_a_part_that_comes_later(world, visit):
    page = visit(world.mia, timezone_id="Asia/Tokyo").page
    page.goto(reverse("exports:export", args=[world.exports[1].id]))
    # The page asks again every second as long as the export is not done.
    with page.expect_response("**/progress/"):
        pass
    expect(page.locator("time").first).to_contain_text(there(world.exports[1].created_at))
    page.wait_for_timeout(300)
    expect(page.locator("time").first).to_contain_text(there(world.exports[1].created_at))
