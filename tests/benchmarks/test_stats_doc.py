"""docs/statistics.md says what the committed record says."""

from __future__ import annotations

import re

import stats_doc


def test_every_table_of_the_page_is_made_from_the_committed_record():
    page = stats_doc.PAGE.read_text(encoding="utf-8")
    assert stats_doc.written(page) == page
    assert len(re.findall(r"<!-- table: [\w-]+ -->\n\| ", page)) == len(stats_doc.TABLES)


def test_every_link_of_the_page_leads_somewhere():
    page = stats_doc.PAGE.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([\w./-]+)\)", page)
    assert links
    assert all((stats_doc.PAGE.parent / link).is_file() for link in links)
