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
        ("GCN", "yes", 16): 0.649,
        ("GCN", "yes", 32): 0.603,
        ("GCN", "yes", 64): 0.287,
        ("GCN", "no", 16): 0.21,
        ("GCN", "no", 32): 0.21,
        ("GCNII", "yes", 64): 0.855,
    }
    assert deep.set_index(["method", "tuned", "num_layers"])["test_acc"].to_dict() == facts
    assert set(deep["dataset"]) == {"Cora"} and deep["recipe"].notna().all()


def test_only_what_was_traced_has_a_reference():
    deep = pd.read_csv(PUBLISHED / "deep.csv", dtype={"reference": str})
    traced = deep["reference"].notna()
    assert (traced == deep["source"].str.startswith("Chen et al. 2020")).all()
    assert deep.loc[traced, "reference"].eq("2007.02133").all()
    assert deep.loc[~traced, "recipe"].str.contains("approximate").all()
