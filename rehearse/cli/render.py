"""Every rendered report of a run, written beside its record."""

from __future__ import annotations

import json
from pathlib import Path

from rehearse.model.record import RunRecord
from rehearse.model.workload import SampleColumns
from rehearse.record.folder import RunFolder
from rehearse.report.document import json_document
from rehearse.report.html import render_html
from rehearse.report.junit import render_junit
from rehearse.report.markdown import render_markdown

PAGE = "report.html"


def write_reports(folder: RunFolder, record: RunRecord, samples: SampleColumns | None) -> Path:
    """HTML, Markdown, JUnit XML and JSON into `folder`; returns the page's path."""
    page = folder.path / PAGE
    folder.write_text("report.md", render_markdown(record))
    folder.write_text("junit.xml", render_junit(record))
    folder.write_text("result.json", json.dumps(json_document(record, str(page)), indent=2) + "\n")
    return folder.write_text(PAGE, render_html(record, samples))
