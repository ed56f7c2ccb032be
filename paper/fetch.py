"""Obtain a data set and check its files, and with "graph" behind it also the graph.

python paper/fetch.py NAME [graph]
"""

import sys

from deadgcn.data import DataError
from deadgcn.data.graphs import load_graph, resolve_dataset


def main() -> None:
    """Say in one line that the data set is ready, or why not."""
    try:
        name = resolve_dataset(sys.argv[1])
        if sys.argv[2:] == ["graph"]:
            load_graph(name)
    except (DataError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{name} is ready.")


if __name__ == "__main__":
    main()
