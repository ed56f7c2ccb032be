"""The rule, cell by cell and reading by reading."""

import numpy as np
import pandas as pd
import pytest

import deadgcn as dg
from deadgcn.stats.claims import CELL

CLEAR = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15]


def cell(values, claimed="more", scale="difference", constant=np.nan, name="cell") -> pd.DataFrame:
    key = dict(zip(CELL, ("C4", "best model", name, "test_acc", scale, claimed), strict=True))
    return pd.DataFrame({"value": values, "seed": range(len(values)), "constant": constant}).assign(**key)


def judge(*cells: pd.DataFrame) -> pd.DataFrame:
    named = [one.assign(cell=str(number)) for number, one in enumerate(cells)]
    return dg.judge(pd.concat(named, ignore_index=True))


def statuses(cells: pd.DataFrame) -> dict[str, str]:
    return dg.verdict(cells).set_index("claim")["status"].to_dict()


@pytest.mark.parametrize(
    ("values", "claimed", "answer"),
    [
        ([0.03, 0.04, 0.05, 0.06], "more", "for"),
        ([0.03, 0.04, 0.05, 0.06], "less", "against"),
        ([0.001, 0.002, 0.003, 0.004], "more", "against"),  # clear, and smaller than the margin
        ([0.001, -0.002, 0.003, -0.004], "more", "against"),  # smaller than the margin
        ([0.5, -0.4, 0.3, 0.1], "more", "open"),
        ([0.5] * 5, "more", "open"),  # five equal values: 2 / 2^5 is above 0.05
        ([0.5] * 6, "more", "for"),
        ([0.0] * 5, "more", "against"),
        ([0.03], "more", "open"),
        ([np.nan, np.nan], "more", "open"),
    ],
)
def test_a_single_cell_by_the_rule(values, claimed, answer):
    row = judge(cell(values, claimed)).iloc[0]
    assert (row["answer"], row["n"]) == (answer, np.isfinite(values).sum())


def test_holms_correction_is_for_what_is_against_the_claim():
    clear = [cell([0.3, 0.4, 0.5, 0.6])] * 3
    weak = [0.15, 0.25, 0.35]  # t = 0.25 * sqrt(3) / 0.1 = 4.33, p = 0.0494
    row = judge(*clear, cell(weak)).iloc[-1]
    assert (row["answer"], row["p_holm"]) == ("for", 1) and 0.04 < row["p_value"] < 0.05
    assert judge(cell(np.negative(weak)))["answer"].tolist() == ["against"]
    row = judge(*clear, cell(np.negative(weak))).iloc[-1]
    assert row["answer"] == "open" and row["p_holm"] == pytest.approx(4 * row["p_value"])


def test_a_cell_that_is_small_before_holm_only_is_open():
    clear = [cell([0.3, 0.4, 0.5, 0.6])] * 3
    small = [0.0072, 0.0119, 0.0166]
    assert judge(cell(small))["answer"].tolist() == ["against"]
    row = judge(*clear, cell(small)).iloc[-1]
    assert row["p_value"] <= 0.05 and row["p_equivalent"] <= 0.05 < row["p_equivalent_holm"]
    assert row["answer"] == "open"


@pytest.mark.parametrize(
    ("constant", "answer"),
    [
        ([0.5] * 10, "for"),
        ([0.5] * 9 + [0.51], "not measurable"),  # more than half of all pairs
        ([1.0] * 2 + [0.0] * 8, "for"),
        ([1.0] * 3 + [0.0] * 7, "not measurable"),  # less than 80 % of the seeds
        ([1 / 3] * 5 + [2 / 3] * 5, "for"),
    ],
)
def test_which_cells_are_measurable(constant, answer):
    values = np.where(np.equal(constant, 1), np.nan, np.linspace(0.1, 0.2, 10))
    (row,) = judge(cell(values, constant=constant)).to_dict("records")
    assert (row["answer"], row["constant"]) == (answer, pytest.approx(np.mean(constant)))
    assert row["n"] == np.isfinite(values).sum() and row["low"] > 0


def test_the_status_of_readings_and_claims():
    support, against = cell(CLEAR), cell(CLEAR, "less")
    lost, unclear = cell(CLEAR, constant=0.9), cell([0.5, -0.4, 0.3, 0.1])
    for parts, status in (
        ([support, support], "replicated"),
        ([support, unclear], "undecided"),
        ([support, unclear, lost], "not measurable"),
        ([support, unclear, lost, against], "not replicated"),
        ([cell(CLEAR, "less", constant=0.9)], "not measurable"),
    ):
        once = judge(*parts)
        assert statuses(once) == {"C4": status}
        (row,) = dg.verdict(pd.concat([once, once.assign(reading="last model")], ignore_index=True)).to_dict(
            "records"
        )
        assert row["status"] == status and row["not measurable"] == 2 * (once["constant"] == 0.9).sum()
        other = judge(against if status == "replicated" else support).assign(reading="last model")
        assert statuses(pd.concat([once, other], ignore_index=True)) == {"C4": "undecided"}
        assert dg.power(once)["for_margin"].isna().all() == (row["not measurable"] > 0)
