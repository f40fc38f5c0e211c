"""docs/tuner.md says what the committed records say."""

from __future__ import annotations

import tuner_doc


def test_every_table_of_the_page_is_made_from_the_committed_records():
    page = tuner_doc.PAGE.read_text(encoding="utf-8")
    assert tuner_doc.written(page) == page


def test_every_picture_of_the_page_is_there():
    page = tuner_doc.PAGE.read_text(encoding="utf-8")
    named = {part.split(")")[0] for part in page.split("](images/")[1:]}
    assert named
    assert all((tuner_doc.PAGE.parent / "images" / name).is_file() for name in named)
