"""A picture with controls: widgets where a kernel runs, and the picture alone everywhere else."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from matplotlib import pyplot as plt
from torch import Tensor

from deadgcn.paper.notebook import WIDGET
from deadgcn.plots.activations import bin_nodes, plot_activations, plot_projection, project

MANY = 6  # values, from which on a slider is handier than a menu


def explore(
    draw: Callable[..., tuple[plt.Figure, str]], choices: Mapping[str, Sequence], **first: Any
) -> None:
    """Show a picture, with a control below it for each of the choices that it depends on.

    They are two outputs, because JupyterLab shows an error in place of a widget whose kernel is gone, even
    where the same output holds a picture. The controls redraw the first output.

    Args:
        draw: takes one keyword per choice; returns a figure, and a text for those who do not see it.
        choices: the values of each keyword.
        first: the values to begin with, where not the first of each.

    Raises:
        ValueError: a choice without values, or a first value that is not among them.
    """
    chosen = {name: first.pop(name, next(iter(values), None)) for name, values in choices.items()}
    for name, value in (chosen | first).items():
        if value not in (legal := list(choices.get(name, ()))):
            raise ValueError(f"{name} must begin with one of {legal}, but {value!r} was passed")
    controls = {name: _control(name, list(values), chosen[name]) for name, values in choices.items()}
    bundle, metadata = _picture(draw, chosen)
    shown = display(bundle, raw=True, metadata=metadata, display_id=True)

    def redraw(_: Any) -> None:
        bundle, metadata = _picture(draw, {name: control.value for name, control in controls.items()})
        shown.update(bundle, raw=True, metadata=metadata)

    for control in controls.values():
        control.observe(redraw, names="value")
    box = widgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    names = ", ".join(name.replace("_", " ") for name in choices)
    display({WIDGET: view, "text/plain": f"Controls, while a kernel runs: {names}"}, raw=True)


def show_layer_activations(
    activations: Callable[..., list[Tensor] | None], y: Tensor, *, layer: int, **run: Any
) -> tuple[plt.Figure, str]:
    """Draw one layer of one run as nodes by neurons: a `draw` for :func:`explore`.

    `activations` is what :func:`deadgcn.plots.activations.activations_of` returned.
    """
    what, (fig, ax) = _words(layer, run), plt.subplots(figsize=(4.5, 3.2), layout="none")
    if (posts := activations(**run)) is None:
        return _nothing(fig, ax, what)
    bins = bin_nodes(posts[layer - 1], y)
    plot_activations(bins, ax).set_xlabel("neuron")
    label = "size of the activation (bin's mean)"
    fig.colorbar(ax.collections[0], ax=ax, label=label, extend="min").minorticks_off()
    dead = int((bins.drop(columns=["class", "nodes"]) == 0).all().sum())
    ax.set_title(f"{what}:\n{dead} of {posts[layer - 1].shape[1]} neurons are dead", pad=11)
    fig.subplots_adjust(0.11, 0.13, 0.98, 0.84)
    return fig, f"Activations of nodes by neurons. {what}: {dead} neurons are dead."


def show_layer_projection(
    activations: Callable[..., list[Tensor] | None], y: Tensor, *, layer: int, **run: Any
) -> tuple[plt.Figure, str]:
    """Draw the embeddings in one layer of one run in two dimensions: a `draw` for :func:`explore`."""
    what, (fig, ax) = _words(layer, run), plt.subplots(figsize=(4.5, 3.6), layout="none")
    if (posts := activations(**run)) is None:
        return _nothing(fig, ax, what)
    points, measures = project(posts[layer - 1], y)
    plot_projection(points, measures, ax, size=9)
    ax.legend(title="class", loc="upper left", bbox_to_anchor=(1, 1), frameon=False, handletextpad=0.1)
    ax.set_title(what)
    fig.subplots_adjust(0.04, 0.13, 0.86, 0.92)
    below = ax.get_xlabel().replace("\n", "; ")
    return fig, f"Embeddings in two dimensions, coloured by class. {what}: {below}."


def _words(layer: int, run: Mapping[str, Any]) -> str:
    forms = {"method": "{}", "num_layers": "{} layers"}
    state = {True: ["trained"], False: ["untrained"]}.get(run.get("trained"), [])
    named = [forms.get(name, name + " {}").format(value) for name, value in run.items() if name != "trained"]
    return ", ".join([*named, *state, f"layer {layer}"])


def _nothing(fig: plt.Figure, ax: plt.Axes, what: str) -> tuple[plt.Figure, str]:
    ax.set_axis_off()
    ax.text(0.5, 0.5, f"{what}:\ndiverged before any epoch counted", ha="center")
    return fig, f"{what}: diverged before any epoch counted."


def _control(name: str, values: list, value: Any) -> widgets.Widget:
    many = len(values) > MANY
    kind, options = (
        (widgets.SelectionSlider, {"continuous_update": False}) if many else (widgets.Dropdown, {})
    )
    return kind(options=values, value=value, description=name.replace("_", " "), **options)


def _picture(draw: Callable[..., tuple[plt.Figure, str]], chosen: Mapping[str, Any]) -> tuple[dict, dict]:
    """What front ends show, as data and metadata by MIME type; the figure is closed."""
    fig, alt = draw(**chosen)
    fig.savefig(png := io.BytesIO(), format="png", dpi=120, metadata={"Software": None})
    plt.close(fig)
    return {"image/png": png.getvalue(), "text/plain": alt}, {"image/png": {"alt": alt}}
