"""An answer is checked on the studio's page Tools, in a real Chromium: paste, start, read."""

import browsing
import pytest

from souron.studio.forms import command_form

pytestmark = pytest.mark.skipif(not browsing.CHROMIUM, reason="no chromium")

SOURCE = "The left first molar was extracted. 体重は60 kgである。"
ANSWER = "The <b>right</b> first molar was extracted. 体重は60 kgである。"
HELP = (
    ("the answer: a text (.txt, .md), or - for what is piped in", ANSWER),
    ("the texts that should support it; repeatable", SOURCE),
)


@pytest.mark.parametrize("language, width", [("en", 1280), ("ja", 390)])
def test_an_answer_is_checked(language, width, looked_at, tmp_path):
    with browsing.visiting(language, width=width) as visit:
        page = visit.page
        page.goto(f"{looked_at.address}/{language}/check")
        assert f"/{language}/study?" in page.url  # of the tool, or of its newest job
        for folded in page.locator("#form .further:not([open]) > summary").all():
            folded.click()
        for help, text in HELP:
            label = command_form.Field("", str, browsing.said(help, language)).says[0]
            page.get_by_label(label, exact=True).locator("visible=true").first.fill(text)
        start = page.locator(f"button:text-is('{browsing.said('Start', language)}')")
        start.locator("visible=true").click()
        page.locator(".verdict").wait_for(timeout=browsing.PATIENCE)
        report = page.frame_locator("iframe.frame")
        report.locator("tr.contradicted").wait_for(timeout=browsing.PATIENCE)
        assert report.locator("tr.contradicted mark").all_text_contents() == ["right", "left"]
        assert report.locator(".claim.contradicted b").text_content() == "✗"
        assert report.locator("tr.supported").count() == 1
        assert report.locator("td b").count() == 0  # an answer's own markup stays text
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=str(tmp_path.parent / f"check-{language}.png"), full_page=True)
        page.reload()
        page.get_by_label(label, exact=True).locator("visible=true").first.wait_for(timeout=browsing.PATIENCE)
        assert SOURCE in page.evaluate("[...document.querySelectorAll('textarea')].map(area => area.value)")
        assert visit.outside == []
