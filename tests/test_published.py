"""Numbers of other people's papers: each names its source, and the given facts are there."""

from pathlib import Path

import pandas as pd
import pytest

PUBLISHED = Path(__file__).parents[1] / "results" / "published"
FILES = sorted(PUBLISHED.glob("*.csv"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_row_names_its_source_and_holds_fractions(path):
    table = pd.read_csv(path)
    assert table["source"].str.strip().str.len().gt(10).all()
    fractions = table.filter(regex="acc|fraction")
    assert (fractions.isna() | ((fractions >= 0) & (fractions <= 1))).all(axis=None)  # no percentages
    assert fractions.filter(like="acc").notna().all(axis=None)  # dead fractions may be missing, as at depth 0


def test_deep_results_are_the_given_facts():
    deep = pd.read_csv(PUBLISHED / "deep.csv")
    facts = {
        ("GCN", 16): 0.649,
        ("GCN", 32): 0.603,
        ("GCN", 64): 0.287,
        ("GCN + DropEdge", 16): 0.757,
        ("GCN + DropEdge", 32): 0.625,
        ("UGT", 32): 0.777,
        ("GCN + G-Init", 64): 0.692,
        ("GCNII", 64): 0.855,
    }
    assert deep.set_index(["method", "num_layers"])["test_acc"].to_dict() == facts
    assert set(deep["dataset"]) == {"Cora"} and deep["recipe"].notna().all()


def test_every_deep_result_can_be_looked_up():
    deep = pd.read_csv(PUBLISHED / "deep.csv", dtype={"reference": str})
    assert deep["reference"].str.fullmatch(r"\d{4}\.\d{5}").all()  # arXiv
    assert set(deep["tuned"]) <= {"yes", "no", "not said"}
