"""Tables for the data tests."""

import random
from pathlib import Path

import pandas as pd
import pytest

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
WORDS = ("pump", "valve", "motor", "belt", "sensor", "panel", "relay", "drive", "cable", "hose", "filter", "tank")


def sentence(number: int) -> str:
    """A text of eight words, different for every number."""
    picked = random.Random(number).choices(WORDS, k=8)
    return f"{' '.join(picked)} {number}"


@pytest.fixture
def table() -> pd.DataFrame:
    """200 rows of three labels (120, 60, 20)."""
    labels = ["alpha"] * 120 + ["beta"] * 60 + ["gamma"] * 20
    return pd.DataFrame(
        {
            "example_id": [f"e{number:03}" for number in range(200)],
            "text": [sentence(number) for number in range(200)],
            "label": labels,
        }
    )


@pytest.fixture
def csv_file(tmp_path: Path, table: pd.DataFrame) -> Path:
    """`table` as a CSV file with the columns text and label."""
    path = tmp_path / "tickets.csv"
    table[["text", "label"]].to_csv(path, index=False)
    return path


@pytest.fixture
def shared_data() -> Path:
    """The folder of public data sets beside the checkout."""
    if not (SHARED / "banking77" / "train.csv").is_file():
        pytest.skip("the public data sets (banking77, e2e) are not beside this checkout")
    return SHARED


@pytest.fixture(name="sentence")
def sentence_fixture():
    """`sentence(number)`."""
    return sentence
