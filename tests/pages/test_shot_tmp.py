
import pytest
from tests.pages.test_code import CODES, PYTHON, fenced, show
TEXT = "Here is a function that adds two numbers:\n\n" + fenced(PYTHON, "python") + "\nAnd the same in a shell:\n\n1. First\n\n   ~~~bash\n   echo $HOME | sed s/a/b/\n   ~~~\n2. Then\n\n" + fenced(CODES["html"], "html") + "\nNo language:\n\n" + fenced("plain text in a fence that is one long sentence of prose, which some models like to write, and which goes on and on until it is wider than any window.\n")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shot(browser, address, server, width, scheme):
    with browser.new_context(base_url=address, color_scheme=scheme, viewport={"width": width, "height": 900}) as c:
        page = c.new_page()
        show(page, TEXT)
        page.wait_for_timeout(800)
        if scheme == "dark": page.locator("[data-code=numbers]").first.click()
        page.screenshot(path=f"/tmp/pg/code-{width}-{scheme}.png", clip={"x":0,"y":0,"width":width,"height":900})
