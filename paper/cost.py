"""What notebooks would train and how long that takes on this machine, without running them.

    python paper/cost.py < JSON: {"notebooks": {path: parameters}}

Only calls that train are evaluated, with the lines that they need, and what would be trained is noted.
"""

import ast
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import MagicMock

from joblib import effective_n_jobs

from deadgcn.config import PROJECT, Config
from deadgcn.data import DataError
from deadgcn.experiments import grid, pyg_reference
from deadgcn.experiments.cache import load
from deadgcn.experiments.parallel import cost, keys

CALLS = {"study.run", "dg.run_grid", "dg.run_reference"}
CHANGES = {"append", "extend", "insert", "add", "update"}  # methods that change their object
PROBE = 200  # layers x epochs that five networks train to measure the speed: about a second


def find_networks(notebook: Path, parameters: dict) -> tuple[list[tuple], str]:
    """The arguments of each call of `run_chunks` that a notebook would make, and what is not known."""
    cells = [c for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    cells = [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", ())]
    calls, unknown = [], ""
    try:
        lines = [line for cell in cells for line in ast.parse("".join(cell["source"])).body]
    except SyntaxError as error:
        return [], f"unknown: {error}"
    # In place of training; and of results, which there are not.
    grid.run_chunks = pyg_reference.run_chunks = lambda *given: calls.append(given) or []
    grid.Tables = pyg_reference.pd = MagicMock()
    for number, line in enumerate(lines):
        for part in _training(line):
            needed = _needed(part, lines[:number])
            if any(any(_training(other)) for other in needed):
                unknown = "and others, which depend on results"
                continue
            try:
                exec("\n".join(map(ast.unparse, [*needed, part])), copy.deepcopy(parameters))
            except (DataError, ValueError) as error:  # of parameters or graph
                sys.exit(f"error: {notebook.stem}: {error}")
            except Exception as error:  # the run will say more
                unknown = f"and others, unknown: {error!r}"
    return calls, unknown


def _training(node: ast.AST) -> Iterator[ast.AST]:
    """The calls that train, or the loops around them."""
    inside = [p for p in ast.walk(node) if isinstance(p, ast.Call) and ast.unparse(p.func) in CALLS]
    if node in inside or (
        inside and isinstance(node, ast.For | ast.While | ast.If | ast.With | ast.ListComp)
    ):
        yield node
    elif inside:
        for child in ast.iter_child_nodes(node):
            yield from _training(child)


def _needed(node: ast.AST, before: list[ast.stmt]) -> list[ast.stmt]:
    """The lines that assign or change the names in a node, or the names in those lines, and so on."""
    wanted, needed = _reads(node), []
    for line in reversed(before):
        parts = list(ast.walk(line))
        targets = [part for part in parts if isinstance(getattr(part, "ctx", None), ast.Store)]
        stored = {ast.unparse(part) for part in targets if isinstance(part, ast.Name)}
        stored |= {part.asname or part.name for part in parts if isinstance(part, ast.alias)}
        methods = [part for part in parts if isinstance(part, ast.Attribute) and part.attr in CHANGES]
        changed = {ast.unparse(part.value) for part in [*targets, *methods] if hasattr(part, "value")}
        seeds = any(isinstance(part, ast.Attribute) and part.attr == "manual_seed" for part in parts)
        if wanted & (stored | changed) or seeds:
            needed.insert(0, line)
            wanted = wanted - (stored if isinstance(line, ast.Assign) else set()) | _reads(line)
    return needed


def _reads(node: ast.AST) -> set[str]:
    """The names in a node whose values come from outside."""
    parts = list(ast.walk(node.value if isinstance(node, ast.Assign) else node))
    names = [part for part in parts if isinstance(part, ast.Name)]
    own = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    grown = {ast.unparse(part.target) for part in parts if isinstance(part, ast.AugAssign)}
    return {name.id for name in names if name.id not in own} | grown


def measure_speed(work: Callable, config: Config) -> float:
    """Minutes for a layer and epoch of a network of this config, five side by side."""
    for epochs in (2, max(2, PROBE // (config.num_layers + 1))):  # the first time is for what is slow once
        beside = [config.model_copy(update={"seed": seed, "epochs": epochs}) for seed in range(5)]
        start = time.perf_counter()
        work(beside)
    return (time.perf_counter() - start) / 60 / cost(beside)


def main() -> None:
    """Print a line for each notebook, and the total."""
    rows, seen, everything = [], set(), []
    with tempfile.TemporaryDirectory() as nowhere:
        for path, parameters in json.load(sys.stdin)["notebooks"].items():
            os.chdir(Path(path).parent)
            calls, unknown = find_networks(Path(path), parameters | {"output_dir": nowhere})
            networks = {}
            for work, configs, _, made_by, content, n_jobs, cache, *_ in calls:
                for config, key in keys(configs, made_by, content).items():
                    done = key and (key in seen or load(PROJECT / cache, key))
                    networks[key or (path, config)] = done, work, config, n_jobs
            seen.update(networks)
            todo = [network for done, *network in networks.values() if not done]
            rows.append((Path(path).stem, len(networks) - len(todo), todo, unknown))
            everything += todo
    rows.append(("total", sum(row[1] for row in rows), everything, ""))
    middle = sorted(everything, key=lambda one: one[1].num_layers)[len(everything) // 2 :]
    speed = measure_speed(*middle[0][:2]) / effective_n_jobs(middle[0][2]) if middle else 0
    print(f"{'networks':<20}{'to train':>9}{'found':>7}{'minutes of training':>21}")
    for name, found, todo, unknown in rows:
        minutes = speed * cost(config for _, config, _ in todo)
        print(f"{name:<20}{len(todo):>9,}{found:>7,}{minutes:>21.1f}  {unknown}".rstrip())


if __name__ == "__main__":
    main()
