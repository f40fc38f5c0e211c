import subprocess
import sys

import pytest

from rsa_ops.config import load_config
from rsa_ops.data.config import Columns, DataConfig
from rsa_ops.errors import ConfigError

FULL = """
source: tickets.csv
test_source: more.csv
columns: {text: body, label: topic, id: nr, group: customer, slices: [region, channel]}
encoding: cp932
sample: {train: 100, test: 50}
split: {validation: 0.15, test: 0.25, seed: 3}
checks:
  class_floor: {severity: warn, min_rows: 3}
  leakage: {drop: true}
  pii: {email: refuse, phone: off}
  drift: {reference: last_year.csv, label_psi: 0.1}
"""


def test_a_full_section_is_read_into_frozen_values():
    config = load_config(DataConfig, FULL, "test")
    assert config.columns.slices == ("region", "channel")
    assert config.checks.class_floor.min_rows == 3
    assert config.checks.pii.phone == "off"
    assert config.sources() == ("tickets.csv", "more.csv", "last_year.csv")
    assert config.sample is not None
    assert config.sample.rows("validation") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source: a.csv\ncolumns: {text: a}", "give either `text` and `label`"),
        ("source: a.csv\ncolumns: {text: a, label: b, source: c, target: d}", "give either"),
        ("source: a.csv\ncolumns: {text: a, lable: b}", "did you mean `label`"),
        ("source: a.csv\ncolumns: {text: a, label: b}\nencoding: utf-9", "unknown encoding 'utf-9'"),
        (
            "source: a.csv\ncolumns: {text: a, label: b}\nsplit: {validation: 0.5, test: 0.5}",
            "nothing for training",
        ),
        ("source: a.csv\ncolumns: {text: a, label: b}\nchecks: {leakage: {severity: stop}}", "'refuse', 'warn'"),
        (
            "{source: a, columns: {text: a, label: b}, checks: {text_length: {min_characters: 9, max_characters: 2}}}",  # noqa: E501
            "above `max_characters`",
        ),
        ("columns: {text: a, label: b}", "source: is missing"),
    ],
)
def test_what_cannot_be_right_is_a_config_error_that_says_so(text, said):
    with pytest.raises(ConfigError, match=said):
        load_config(DataConfig, text, "test")


def test_columns_of_generation_are_input_and_output():
    columns = Columns(source="mr", target="ref")
    assert (columns.input_column, columns.output_column) == ("mr", "ref")


def test_importing_config_or_validate_loads_no_heavy_library():
    code = (
        "import sys, rsa_ops.data.config, rsa_ops.data.validate;"
        "print([n for n in ('pandas', 'great_expectations', 'datasets', 'datasketch', 'pyarrow', 'torch')"
        " if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
