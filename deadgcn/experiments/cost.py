"""What notebooks would train and how long that takes on this machine, without running them.

    python -m deadgcn.experiments.cost < JSON: {"notebooks": {path: parameters}}

Only calls that train are evaluated, with the lines that they need, and what would be trained is noted.
"""

import ast
import copy
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

CALLS = {"study.run", "dg.run_grid", "dg.run_reference"}
CHANGES = {"append", "extend", "insert", "add", "update"}  # methods that change their object
LOOPS = ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
COMPOUND = ast.For, ast.While, ast.If, ast.With
PROBE = 200  # layers x epochs that five networks train to measure the speed: about a second


def find_units(node: ast.AST) -> list[ast.AST]:
    """The calls that train, or the loops around them."""
    train = [
        part for part in ast.walk(node) if isinstance(part, ast.Call) and ast.unparse(part.func) in CALLS
    ]
    if not train or node in train or isinstance(node, LOOPS + COMPOUND):
        return [node] if train else []
    return [unit for child in ast.iter_child_nodes(node) for unit in find_units(child)]


def find_needed(node: ast.AST, before: list[ast.stmt]) -> list[ast.stmt]:
    """The lines that assign or change the names in a node, or the names in those lines, and so on."""
    wanted, needed = _reads(node), []
    for line in reversed(before):
        parts = list(ast.walk(line))
        stored = [part for part in parts if isinstance(getattr(part, "ctx", None), ast.Store)]
        assigned = {part.id for part in stored if isinstance(part, ast.Name)}
        assigned |= {part.asname or part.name for part in parts if isinstance(part, ast.alias)}
        changed = {ast.unparse(part.value) for part in stored if hasattr(part, "value")}  # a[0] = 1
        changed |= {ast.unparse(p.value) for p in parts if isinstance(p, ast.Attribute) and p.attr in CHANGES}
        if wanted & (assigned | changed):
            needed.insert(0, line)
            wanted = wanted - (assigned if isinstance(line, ast.Assign) else set()) | _reads(line)
    return needed


def _reads(node: ast.AST) -> set[str]:
    """The names in a node whose values come from outside."""
    parts = list(ast.walk(node))
    loops = [part.target for part in parts if isinstance(part, ast.For | ast.comprehension)]
    bound = {part.id for target in loops for part in ast.walk(target) if isinstance(part, ast.Name)}
    own: dict[str, int] = {}  # in which line the body of a loop first assigns a name
    for line in node.body if isinstance(node, COMPOUND) else []:
        for target in line.targets if isinstance(line, ast.Assign) else []:
            own = {part.id: line.lineno for part in ast.walk(target) if isinstance(part, ast.Name)} | own
    loads = [part for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)]
    return {part.id for part in loads if part.lineno <= own.get(part.id, part.lineno)} - bound


def find_networks(notebook: Path, parameters: dict) -> tuple[list[tuple], str]:
    """The arguments of each call of `run_chunks` that a notebook would make, and remarks."""
    cells = [c for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    cells = [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", ())]
    calls, remarks = [], set()
    try:
        lines = [line for cell in cells for line in ast.parse("".join(cell["source"])).body]
    except SyntaxError:
        return [], "unknown: it has lines that are not Python"
    for unit, before in [(unit, lines[:i]) for i, line in enumerate(lines) for unit in find_units(line)]:
        needed, code = find_needed(unit, before), ast.unparse(unit)
        if any(map(find_units, needed)):
            remarks.add("and others, which depend on results")
            continue
        from deadgcn.experiments import grid, pyg_reference  # imports torch, which takes seconds

        grid.run_chunks = pyg_reference.run_chunks = lambda *given: calls.append(given) or []
        grid.Tables = pyg_reference.pd = MagicMock()  # for results, which there are not
        code = f"list({code})" if isinstance(unit, LOOPS) else code
        try:
            exec("\n".join([*map(ast.unparse, needed), code]), copy.deepcopy(parameters))
        except Exception as error:  # the run will say more
            remarks.add(f"and others, unknown: {error!r}")
    return calls, ", ".join(remarks)


def count(calls: list[tuple], notebook: str, seen: set) -> tuple[int, list[tuple]]:
    """How many networks are finished, or trained by what was counted before; and the others."""
    networks = {}
    for work, configs, _, made_by, content, n_jobs, cache, *_ in calls:
        from deadgcn.config import PROJECT
        from deadgcn.experiments.cache import load
        from deadgcn.experiments.parallel import keys

        for config, key in keys(configs, made_by, content).items():
            finished = key and (key in seen or (cache and load(PROJECT / cache, key)))
            networks[key or (notebook, config)] = finished, work, config, n_jobs
    seen.update(networks)
    todo = [network for finished, *network in networks.values() if not finished]
    return len(networks) - len(todo), todo


def measure_speed(todo: list[tuple]) -> float:
    """Minutes for a layer and epoch of a network, from five of middling depth side by side."""
    from deadgcn.experiments.parallel import cost

    work, config, _ = sorted(todo, key=lambda network: network[1].num_layers)[len(todo) // 2]
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
            calls, remarks = find_networks(Path(path), parameters | {"output_dir": nowhere})
            found, todo = count(calls, path, seen)
            rows.append((Path(path).stem, found, todo, remarks))
            everything += todo
    rows.append(("total", sum(row[1] for row in rows), everything, ""))
    speed = measure_speed(everything) if everything else 0
    print(f"{'networks':<20}{'to train':>9}{'found':>7}{'minutes of training':>21}")
    for name, found, todo, remarks in rows:
        minutes = 0.0
        if todo:
            from joblib import effective_n_jobs

            from deadgcn.experiments.parallel import cost

            minutes = cost(config for _, config, _ in todo) * speed / effective_n_jobs(todo[0][2])
        print(f"{name:<20}{len(todo):>9,}{found:>7,}{minutes:>21.1f}  {remarks}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
