"""Dying neurons and over-smoothing in deep ReLU graph convolutional networks.

``import deadgcn as dg`` offers the names below, in reading order. Each is imported when it is first used, so
that importing the package, or :class:`Config`, imports no torch.
"""

import importlib
import os
from typing import Any

# MKL otherwise picks its kernels by the alignment of its operands, so that at some widths a run's last bits
# would depend on its place in the batch. Must be set before MKL's first product.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

_NAMES = {
    "config": "PROJECT METHODS ACTS Config label_of",
    "data.graphs": "load_graph resolve_dataset",
    "data.own": "normalized_adjacency",
    "gcn.model": "GCN",
    "gcn.neurons": "dead_mask dead_fraction zero_fraction",
    "gcn.stripping": "stripping_mask strip_dead_neurons_",
    "gcn.smoothing": """all_measures dirichlet_energy distance_to_mean frobenius_norm mean_average_distance
        normalized_dirichlet_energy rayleigh_quotient distance_to_limit relative_distance_to_mean
        stable_rank effective_rank rank_one_distance""",
    "gcn.training": "train",
    "experiments.grid": "grid run_grid open_study",
    "experiments.tables": "Tables load_model",
    "experiments.measure": "measure activations layer",
    "experiments.pyg_reference": "run_reference",
    "stats.inference": "MARGIN FACTOR interval",
    "stats.estimates": "summarize paired_difference compare answer share_above",
    "stats.claims": "LINK_LAYERS core_comparisons very_deep_comparisons judge verdict power",
    "plots.style": """set_style METHOD_STYLES method_colors OTHER_COLORS axis_label share_legend
        publish""",
    "plots.curves": "plot_vs_num_layers plot_vs_layer error_bar",
    "plots.forest": "plot_forest ANSWER_COLORS ANSWER_MARKERS",
    "plots.activations": "bin_nodes plot_activations project plot_projection explore",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'deadgcn' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(f"deadgcn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
