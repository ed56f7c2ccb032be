"""The README's table of claims is the verdict's."""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
COLUMNS = {
    "Cora": "results/Cora",
    "Cora, more seeds": "results/profiles/full/Cora",
    "CiteSeer": "results/CiteSeer",
}


def test_the_table_of_claims_is_that_of_the_committed_verdicts():
    block = re.search(r"<!-- verdict -->\n(.*)<!-- /verdict -->", (ROOT / "README.md").read_text(), re.S)[1]
    head, _, *rows = [line.strip("|").split("|") for line in block.strip().splitlines()]
    assert [cell.strip() for cell in head] == ["", "claim", *COLUMNS]
    verdicts = {
        name: pd.read_csv(ROOT / path / "verdict.csv", index_col="claim") for name, path in COLUMNS.items()
    }
    assert [row[0].strip() for row in rows] == list(verdicts["Cora"].index)
    for claim, statement, *statuses in ([cell.strip() for cell in row] for row in rows):
        assert statement == verdicts["Cora"].loc[claim, "statement"]
        found = dict(zip(COLUMNS, (status.strip("*") for status in statuses), strict=True))
        assert found == {name: table.loc[claim, "status"] for name, table in verdicts.items()}
