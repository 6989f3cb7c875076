"""The studio's page Check in a real Chromium: paste, check, see what differs."""

import browsing
import pytest

pytestmark = pytest.mark.skipif(not browsing.CHROMIUM, reason="no chromium")

SOURCE = "The left first molar was extracted. 体重は60 kgである。"
ANSWER = "The <b>right</b> first molar was extracted. 体重は60 kgである。"


@pytest.mark.parametrize("language, width", [("en", 1280), ("ja", 390)])
def test_an_answer_is_checked(language, width, looked_at, tmp_path):
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/check")
        for name, text in (("answer", ANSWER), ("source", SOURCE)):
            page.get_by_label(browsing.said(name, language), exact=True).first.fill(text)
        page.locator(f"button:text-is('{browsing.said('Check', language)}')").click()
        page.locator(".checked tr.contradicted").wait_for(timeout=browsing.PATIENCE)
        assert page.locator("tr.contradicted mark").all_text_contents() == ["right", "left"]
        assert page.locator(".claim.contradicted b").text_content() == "✗"
        assert page.locator(".checked tr.supported").count() == 1
        assert page.locator(".checked td b").count() == 0  # an answer's own markup stays text
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=str(tmp_path.parent / f"check-{language}.png"), full_page=True)
        assert visit.outside == []
