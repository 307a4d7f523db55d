"""Every page, wide and narrow, light and dark: no barrier that axe knows, nothing cut off, no error, the strict policy.

A page joins by being routed. If it needs a parameter that no other page has, `parameters` says what to put there; if it
looks different from row to row, `VARIANTS` says which rows are worth a look.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from django.urls import NoReverseMatch, get_resolver, reverse
from playwright.sync_api import Page, Response, expect

from annotate.accounts.models import Role, User
from annotate.desk import queries as desk
from tests import factories as make
from tests.browser.conftest import Visitor
from tests.browser.world import World, reviewable
from tests.test_doors import PAGES, PARAMETERS

pytestmark = pytest.mark.browser

# Word for word, so that a setting that is loosened fails here.
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "font-src 'self'",
    "form-action 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}
AXE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "preload": False,  # it would ask for our style sheets at addresses of its own
    "resultTypes": ["violations"],
}
# axe takes longer than all the rest together. These two looks have both layouts and both sets of colours in them.
WITH_AXE = [(1280, "light"), (390, "dark")]


@dataclass(frozen=True)
class Address:
    user: User | None
    url: str
    status: int = 200


def parameters(world: World) -> dict[str, Any]:
    """What stands for each parameter of an address, unless VARIANTS has more."""
    return {
        "assignment_id": world.held[0].id,
        "campaign_id": world.campaigns["demonstrations"].id,
        "export_id": world.exports[0].id,
        "guideline_id": world.guidelines[0].id,
        "job_id": world.imports[0].id,
        "name": "manifest.json",
        "number": 2,
        "policy_id": world.policies[0].id,
        "pool_id": world.pool.id,
        "prompt_id": world.prompts[0].id,
        "qualification_id": world.qualifications[0].id,
        "run_id": world.runs[0].id,
        "task_id": world.held[0].task_id,
        "to": "paused",
        "user_id": world.ben.id,
        "workflow": "rankings",
    }


def each(name: str, rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [{name: getattr(row, "id", row)} for row in rows]


def moves(world: World) -> list[dict[str, Any]]:
    wanted = (("draft", "open"), ("demonstrations", "closed"), ("paused", "open"))
    return [{"campaign_id": world.campaigns[name].id, "to": to} for name, to in wanted]


VARIANTS: dict[str, Callable[[World], list[dict[str, Any]]]] = {
    "desk:task": lambda world: each("assignment_id", [*world.held, world.late, world.lost]),
    "desk:answer": lambda world: each("assignment_id", world.answered[:2] + world.answered[3:]),
    "studio:import": lambda world: each("job_id", world.imports),
    "studio:prompt": lambda world: each("prompt_id", world.prompts),
    "studio:guideline": lambda world: each("guideline_id", world.guidelines),
    "studio:guideline-version": lambda world: each("number", [2, 3]),
    "studio:campaign-new": lambda world: each("workflow", ["demonstrations", "rankings", "instructions"]),
    "studio:campaign": lambda world: each("campaign_id", world.campaigns.values()),
    "studio:campaign-mix": lambda world: each("campaign_id", [world.campaigns["rankings"]]),
    "studio:campaign-slates": lambda world: each("campaign_id", [world.campaigns["rankings"]]),
    "studio:campaign-briefs": lambda world: each("campaign_id", [world.campaigns["plain"]]),
    "studio:campaign-edit": lambda world: each("campaign_id", [world.campaigns["draft"], world.campaigns["rewriting"]]),
    "studio:campaign-state": moves,
    "studio:stopped": lambda world: each("campaign_id", [world.campaigns["paused"], world.campaigns["rankings"]]),
    "studio:qualification": lambda world: each("qualification_id", world.qualifications),
    "studio:policy": lambda world: each("policy_id", world.policies),
    "studio:policy-probe-progress": lambda world: each("policy_id", world.policies[2:]),
    "studio:run": lambda world: each("run_id", world.runs),
    "studio:person": lambda world: each("user_id", world.people),
    "studio:review-answer": lambda world: each("assignment_id", reviewable(world)),
    "exports:export": lambda world: each("export_id", world.exports),
}
# Lists that were searched, turned over or narrowed down.
QUERIES = {
    "studio:pool": ["q=toad", "kind=few_shot", "page=2"],
    "studio:people": ["q=nobody"],
    "studio:import": ["show=taken"],
    "studio:guideline-compare": ["from=1&to=3"],
    "exports:agreement": ["ties=three_way", "campaign=0"],
}


def ours(world: World) -> Iterator[Address]:
    """The pages of our own views, each for the least powerful person whom its door lets in."""
    known = parameters(world)
    for name, entry in PAGES:
        role = next(role for role in Role if role in entry.callback.door)
        user = {Role.LABELER: world.ada, Role.REVIEWER: world.rea, Role.MANAGER: world.mia}[role]
        needed = {key: known[key] for key in PARAMETERS[entry]}
        variants = [needed | more for more in VARIANTS.get(name, lambda world: [{}])(world)]
        urls = [reverse(name, kwargs=variant) for variant in variants]
        urls += [f"{urls[0]}?{query}" for query in QUERIES.get(name, [])]
        if not hasattr(entry.callback, "takes_only_forms") and is_page(user, urls[0]):
            yield from (Address(user, url) for url in urls)
    for user in (world.cleo, world.hedy):
        yield Address(user, reverse("desk:home"))
    yield Address(world.cleo, reverse("desk:guideline", args=[known["campaign_id"]]))


def accounts(world: World) -> Iterator[Address]:
    """allauth's pages, for a stranger and for somebody who is logged in."""
    for pattern in get_resolver("allauth.account.urls").url_patterns:
        try:
            url = reverse(str(pattern.name))
        except NoReverseMatch:
            continue
        yield from (Address(user, url) for user in (None, world.ada) if is_page(user, url))
    yield Address(None, world.reset_link().removeprefix("http://localhost"))
    yield Address(None, reverse("account_reset_password_from_key", kwargs={"uidb36": "1", "key": "used-up"}))


def errors(world: World) -> Iterator[Address]:
    yield Address(None, "/nowhere/", 404)
    yield Address(world.ada, "/nowhere/", 404)
    yield Address(world.ada, reverse("studio:campaigns"), 403)
    yield Address(world.ben, reverse("desk:home"), 500)


def is_page(user: User | None, url: str) -> bool:
    """Neither a part of a page for htmx, nor a file, nor an address that is only posted to."""
    client = Client()
    if user is not None:
        client.force_login(user)
    response = client.get(url)
    if response.status_code == 302:
        assert url.startswith("/account/") or url == "/", f"{url} leads to {response.url}"
    else:
        assert response.status_code in (200, 405), f"{url} answers {response.status_code}"
    html = response.get("Content-Type", "").startswith("text/html") and response.status_code == 200
    return html and b"<!doctype html>" in response.content.lower()


@pytest.fixture
def broken_home(monkeypatch, world):
    """Ben's first page breaks."""
    offers = desk.offers

    def broken(labeler: User, *args: Any) -> Any:
        if labeler == world.ben:
            raise RuntimeError("as the test wants it")
        return offers(labeler, *args)

    monkeypatch.setattr(desk, "offers", broken)


@pytest.mark.parametrize(("width", "scheme"), WITH_AXE)
def test_every_page_is_accessible_and_fits(world, visit, broken_home, width, scheme):
    addresses = [*ours(world), *accounts(world), *errors(world)]
    assert len(addresses) > 100
    assert complaints(addresses, visit, width, scheme) == []


def test_every_page_of_an_empty_platform_is_accessible_and_fits(transactional_db, visit):
    people = {role: make.user(role) for role in Role}
    addresses = []
    for name, entry in PAGES:
        user = people[next(role for role in Role if role in entry.callback.door)]
        if not PARAMETERS[entry] and is_page(user, reverse(name)):
            addresses.append(Address(user, reverse(name)))
    assert complaints(addresses, visit, 390, "dark") == []


def complaints(addresses: list[Address], visit: Callable[..., Visitor], width: int, scheme: str) -> list[str]:
    """axe checks the pages in this scheme. All other checks run in both schemes."""
    visitors: dict[User | None, Visitor] = {}
    found = []
    for address in addresses:
        if address.user not in visitors:
            visitors[address.user] = visit(address.user, width=width)
        visitor = visitors[address.user]
        # The page loads in this scheme, because colours change gradually when the scheme does.
        visitor.page.emulate_media(color_scheme=scheme)
        faults = answered(visitor.page.goto(address.url), address.status) + seen(visitor)
        visitor.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        faults += seen(visitor, axe=False)
        found += [f"{address.url}: {fault}" for fault in faults]
    return found


def answered(response: Response | None, status: int) -> list[str]:
    """What is wrong with the response."""
    assert response is not None
    found = [] if response.status == status else [f"answers {response.status}"]
    if response.request.redirected_from and "/account/" not in response.url:
        found.append(f"leads to {response.url}")
    policy = response.headers.get("content-security-policy", "")
    if {part.strip() for part in policy.split(";") if part.strip()} != POLICY:
        found.append(f"its policy is {policy!r}")
    return found


def seen(visitor: Visitor, *, axe: bool = True) -> list[str]:
    """What is wrong with the page that the visitor has before them."""
    # In this order: what axe does to a page is none of the page's faults.
    found = visitor.faults() + overflowing(visitor.page)
    found += barriers(visitor.page) if axe else []
    visitor.faults()
    return found


OVERFLOWING = """() => {
  const wide = document.documentElement.scrollWidth;
  if (wide <= innerWidth) return [];
  const all = [...document.querySelectorAll("body *")];
  const beyond = all.filter((element) => element.getBoundingClientRect().right > innerWidth + 1);
  return [`${wide} px wide: ${beyond.slice(0, 4).map((element) => element.outerHTML.slice(0, 80)).join(" ")}`];
}"""


def overflowing(page: Page) -> list[str]:
    found: list[str] = page.evaluate(OVERFLOWING)
    return found


def barriers(page: Page) -> list[str]:
    """What axe finds, as lines."""
    # Where a page has scrolled to a fault, the action bar may cover part of a button, which axe calls too small.
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    rules = Axe().run(page, options=AXE).response["violations"]
    return [f"{rule['id']}: {node['html'][:160]}" for rule in rules for node in rule["nodes"]]


# Empties the first form of the page, or the one named, and sends it past the browser's own checks.
EMPTY = """(name) => {
  const form = document.querySelector(name);
  form.noValidate = true;
  for (const field of form.querySelectorAll("input:not([type=hidden]), textarea, select")) {
    if (["checkbox", "radio"].includes(field.type)) field.checked = false;
    else field.value = "";
  }
"""
SEND = """
  const send = form.querySelector("[value=send_back]") ?? form.querySelector("[type=submit]:not([formaction])");
  send.click();
"""
FORM = "main form[method=post]:not([hidden])"


def forms(world: World) -> Iterator[tuple[User | None, str, str]]:
    """(who, address, form) of everything that is filled in."""
    yield None, reverse("account_login"), FORM
    yield None, reverse("account_reset_password"), FORM
    yield world.ada, reverse("account_change_password"), FORM
    for assignment in world.held:
        yield world.ada, reverse("desk:task", args=[assignment.id]), FORM
    yield world.ada, reverse("desk:task", args=[world.held[0].id]), "#skip-dialog form"
    for name in ("pool-new", "guideline-new", "policy-new", "run-new", "invite"):
        yield world.mia, reverse(f"studio:{name}"), FORM
    for workflow in ("demonstrations", "rankings", "instructions"):
        yield world.mia, reverse("studio:campaign-new", args=[workflow]), FORM
    yield world.mia, reverse("studio:import-new", args=[world.pool.id]), FORM
    yield world.mia, reverse("studio:campaign", args=[world.campaigns["plain"].id]), "form[action$='/briefs/']"
    yield world.mia, reverse("studio:review-answer", args=[reviewable(world)[0].id]), FORM
    yield world.mia, reverse("exports:new"), FORM


@pytest.mark.parametrize(("width", "scheme"), WITH_AXE)
def test_every_form_that_is_refused_is_accessible_and_fits(world, visit, width, scheme):
    visitors = {user: visit(user, width=width, color_scheme=scheme) for user in (None, world.ada, world.mia)}
    tasks, found = {reverse("desk:task", args=[held.id]) for held in world.held}, []
    for user, url, form in forms(world):
        page = visitors[user].page
        page.goto(url)
        if url in tasks and form == FORM:
            # The page itself says what is missing, and sends nothing. Without scripts the form is sent as it is.
            page.evaluate(EMPTY + SEND + "}", form)
            expect(page.locator("[data-incomplete]"), url).to_be_visible()
            found += [f"{url}, incomplete: {fault}" for fault in seen(visitors[user])]
            send = "form.submit();"
        else:
            send = SEND
        with page.expect_navigation() as navigation:
            page.evaluate(EMPTY + send + "}", form)
        response = navigation.value
        assert response.status in (200, 422), f"{url} answers {response.status}"
        expect(page.locator(".errorlist, [role=alert]").first, url).to_be_visible()
        found += [f"{url}: {fault}" for fault in answered(response, response.status) + seen(visitors[user])]
    assert found == []


@pytest.mark.parametrize(("width", "scheme"), WITH_AXE)
def test_what_opens_on_a_page_is_accessible_and_fits(world, visit, width, scheme):
    # Nothing glides: a target that a bar hides half way through a scroll is no fault of the page.
    visitor = visit(world.ada, width=width, color_scheme=scheme, reduced_motion="reduce")
    page, found = visitor.page, []
    demonstration, ranking, rewriting = (reverse("desk:task", args=[held.id]) for held in world.held[:3])

    def opened(what: str) -> None:
        found.extend(f"{what}: {fault}" for fault in seen(visitor))

    page.goto(demonstration)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    opened("key help")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Skip", exact=True).click()
    expect(page.get_by_role("dialog", name="Skip this task")).to_be_visible()
    opened("skip dialog")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Ada Lovelace").click()
    opened("user menu")
    page.keyboard.press("Escape")
    if width == 390:
        page.get_by_role("button", name="Menu").click()
        opened("main menu")
        page.keyboard.press("Escape")
    page.get_by_role("tab", name="Preview").click()
    expect(page.get_by_role("tabpanel", name="Preview")).to_contain_text("A heading of the writer's own")
    opened("preview")

    page.goto(ranking)
    for letter in "ABCDE":
        page.keyboard.press(letter)
        page.keyboard.press("4")
    for letter in "rabc":
        page.keyboard.press(letter)
        page.keyboard.press("1")
    expect(page.locator("[data-order]")).to_have_text("A = B = C")
    opened("ranking board")
    for letter in "ae":
        page.keyboard.press(letter)
        page.keyboard.press("p")
    opened("comparing two")

    page.goto(rewriting)
    page.get_by_label("Instruction").fill("Quite another one.")
    expect(page.get_by_role("deletion").first).to_be_visible()
    opened("word diff")
    assert found == []
