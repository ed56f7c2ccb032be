"""What notebooks may be given, with types and ranges. Imports no torch."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from deadgcn.config import Config


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)) or values[-1] < 1:
        raise ValueError("should be different numbers in ascending order, the last one above 0")
    return values


def _plain(dataset: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w.-]*|.+\.pt", dataset, flags=re.ASCII):
        raise ValueError("should be the plain name of a data set, or a file that ends with .pt")
    return dataset


# The words of labels that notebooks give to arms, by which the report knows their numbers.
TAKEN = "relu|relu pruning|leakyrelu|pruning as in the text|relu our recipe|relu no weight decay".split("|")
LABEL = r"(?![_ ])[^$]{1,40}(?<! )"  # matplotlib hides what starts with _ and draws formulas between $ signs


def _arms(arms: dict[str, dict]) -> dict[str, dict]:
    for label, settings in arms.items():
        if re.sub(r"\W+", " ", label).strip().lower() in TAKEN:
            raise ValueError(f"the arm {label!r} is an arm of the study")
        if not label.isprintable() or not re.fullmatch(LABEL, label):
            rule = "1 to 40 printable characters without $, not starting with _, with no space at an end"
            raise ValueError(f"an arm's label must be {rule}, but is {label!r}")
        if keys := settings.keys() & {"dataset", "method", "num_layers", "seed", "split"}:
            raise ValueError(f"the arm {label!r} must not set {', '.join(keys)}")
        Config(method=label, **settings)
    return arms


def _jobs(n_jobs: int) -> int:
    if n_jobs != -1 and not 1 <= n_jobs <= 1024:
        raise ValueError("should be -1, which means one per core, or 1 to 1024")
    return n_jobs


Count = Annotated[int, Field(ge=1, le=10_000)]
Depth = Annotated[int, Field(ge=0, le=10_000)]  # 0 is the linear head alone
Counts = Annotated[list[Count], Field(min_length=1), AfterValidator(_ascending)]
Depths = Annotated[list[Depth], Field(min_length=1), AfterValidator(_ascending)]


class Parameters(Config, strict=True):
    """What notebooks may be given: a run's settings, and these. The defaults are the notebooks' own."""

    hidden_channels: Annotated[int, Field(ge=2, le=65_536, multiple_of=2)] = None  # 08 pairs them
    dataset: Annotated[str, AfterValidator(_plain)] = None
    arms: Annotated[dict[str, dict[str, Any]], AfterValidator(_arms)] = None  # label -> settings
    depths: Depths = None
    num_layers: Count = None  # of the very deep networks
    example_num_layers: Count = None
    first_seed: Annotated[int, Field(ge=0, le=10**9)] = None
    num_seeds: Count = None  # runs of each arm, from first_seed
    num_seeds_deep: Count = None  # at num_layers
    num_seeds_pairs: Count = None  # of the main interventions
    num_seeds_more: Count = None  # of the others
    num_seeds_others: Count = None  # of the arms that a recipe is compared with
    deeper_depths: Annotated[Counts, Field(min_length=2, max_length=2)] = None  # with fewer weights decayed
    search_depths: Counts = None
    epochs_alive: Count = None
    powers: Counts = None  # of the normalised adjacency
    save_checkpoints: bool = None
    n_jobs: Annotated[int, AfterValidator(_jobs)] = None
    scheduler: Annotated[str, Field(pattern=r"^((tcp|tls)://[^\s/]+:\d{1,5})?$")] = None  # empty: no Dask
    output_dir: str = None
    input_dir: str = None

    @model_validator(mode="after")
    def _depths_differ(self) -> "Parameters":
        if (depth := self.example_num_layers) in (deeper := self.deeper_depths or ()):
            raise ValueError(f"example_num_layers must not be in deeper_depths {deeper}, but is {depth}")
        return self
