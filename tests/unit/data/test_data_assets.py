import importlib.metadata

import pytest

from rsa_ops.data import assets
from rsa_ops.data.config import Columns
from rsa_ops.data.load import attribution, load_table
from rsa_ops.data.records import parse_record
from rsa_ops.errors import IntegrityError, MissingError


@pytest.fixture
def installed():
    try:
        importlib.metadata.distribution(assets.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{assets.PACKAGE} is not installed (make setup)")


def test_incident_triage_has_the_published_rows_and_classes(installed):
    columns = Columns(text="text", label="label", slices=("severity", "year"))
    table = load_table("asset:incident-triage", columns, "classification")
    assert (len(table), table["label"].nunique()) == (5904, 12)  # research of 2026-11-24, DESIGN section 6
    assert table["label"].value_counts().min() >= 50
    assert table["example_id"].is_unique
    assert set(table["slice_severity"]) == {"low", "medium", "high", "critical"}
    assert not table["text"].str.contains(r" — .* \(CVE-").any()


def test_incident_report_has_the_published_pairs_as_records(installed):
    columns = Columns(source="text", target="label", slices=("severity",))
    table = load_table("asset:incident-report", columns, "generation")
    assert len(table) == 1028
    records = table["text"].map(parse_record)
    assert records.map(lambda record: "affected" in record).all()
    assert not table["text"].str.contains("CVE-").any()


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(assets, "distribution", absent)
    with pytest.raises(MissingError, match=r"make setup.*pip install --no-deps genai-incidents==2\.13\.0"):
        assets.read_asset("incident-triage")


@pytest.mark.parametrize("content", [b"not json", b"{}", b'{"incidents": [{"title": "x"}]}', b'{"incidents": []}'])
def test_a_changed_file_breaks_integrity(monkeypatch, tmp_path, content):
    path = tmp_path / "incidents.min.json"
    path.write_bytes(content)
    monkeypatch.setattr(assets, "asset_file", lambda name: path)
    with pytest.raises(IntegrityError, match=r"is not the file of genai-incidents 2\.13\.0"):
        assets.read_asset("incident-triage")


@pytest.mark.parametrize(
    ("title", "description", "text"),
    [
        ("A flaw", "It breaks.", "A flaw. It breaks."),
        ("A flaw.", "It breaks.", "A flaw. It breaks."),
        ("A flaw in X...", "A flaw in X allows y.", "A flaw in X allows y."),
        ("TensorFlow — Dos (CVE-2021-29563)", "It breaks.", "TensorFlow. It breaks."),
    ],
)
def test_a_story_repeats_no_title_and_names_no_label(title, description, text):
    assert assets._story({"title": title, "description": description}) == text


def test_attribution_travels_with_the_assets_and_only_with_them():
    assert "CC BY 4.0" in attribution(("asset:incident-triage", "x.csv"))
    assert attribution(("x.csv",)) == ""
