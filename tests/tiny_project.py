"""A project of tiny notebooks, for the tests of what runs notebooks."""

import json
from pathlib import Path

import execute

PAPER = Path(execute.__file__).parent  # the folder that `python paper` runs
PARAMETERS = "output_dir = 'build/interactive'\ndepths = [2, 4]\nlr = 0.1  # = step | size\nepochs = 3"
WRITE = (
    "from pathlib import Path\n"
    "folder = Path('..', output_dir, 'results', 'Cora')\n"
    "folder.mkdir(parents=True)\n"
    "_ = (folder / 'ok.csv').write_text(f'{depths} {lr} {epochs}')"
)


def write_notebook(path, *cells, parameters=PARAMETERS):
    """A notebook with a heading, a cell of parameters and further cells of code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    built = [{"cell_type": "markdown", "id": "head", "metadata": {}, "source": "Text\n\n# The title\n"}]
    for place, source in enumerate([parameters, *cells]):
        tags = {"tags": ["parameters"]} if place == 0 else {}
        cell = {"cell_type": "code", "id": f"cell{place}", "metadata": tags, "source": source}
        built.append(cell | {"execution_count": None, "outputs": []})
    # The name of a kernel that does not exist: what a notebook has stored must not matter.
    metadata = {"kernelspec": {"name": "elsewhere", "display_name": "Elsewhere", "language": "python"}}
    path.write_text(json.dumps({"cells": built, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    return path


def write_file(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def contents(folder):
    """All files except the lock."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def call(project, *options, stems=("01_ok",)):
    return execute.main([str(project / "notebooks" / f"{stem}.ipynb") for stem in stems] + list(options))
