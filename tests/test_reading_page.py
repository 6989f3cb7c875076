"""The studio's page Read in a real Chromium: type, ask, see the quotes marked in their places."""

import browsing
import pytest

pytestmark = pytest.mark.skipif(not browsing.CHROMIUM, reason="no chromium")

TEXT = (
    "The ward opens at eight. Patient 0417 is allergic to penicillin. "
    "He was given azithromycin for pneumonia. <b>面会時間は午後二時からです。</b>"
)


@pytest.mark.parametrize("language, width", [("en", 1280), ("ja", 390)])
def test_a_typed_text_answers(language, width, looked_at, tmp_path):
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/read")
        page.get_by_label(browsing.said("text", language), exact=True).first.fill(TEXT)
        page.get_by_label(browsing.said("your question", language), exact=True).first.fill(
            "What must patient 0417 not be given?"
        )
        page.locator(f"button:text-is('{browsing.said('Ask', language)}')").click()
        quotes = page.locator(".read blockquote")
        quotes.first.wait_for(timeout=browsing.PATIENCE)
        assert "penicillin" in quotes.first.text_content()
        page.locator(".read summary").first.click()
        assert page.locator(".read mark").first.text_content() == quotes.first.text_content()
        assert page.locator(".read b").count() == 0  # a text's own markup stays text
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=str(tmp_path.parent / f"read-{language}.png"), full_page=True)
        assert visit.outside == []
