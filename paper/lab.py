"""JupyterLab's configuration for `make lab`."""


def _keep_language(model, **_):
    """Save notebooks without the version of Python that opened them, as they are in git."""
    if model["type"] == "notebook":
        model["content"]["metadata"]["language_info"] = {"name": "python"}


c.FileContentsManager.pre_save_hook = _keep_language  # noqa: F821 (Jupyter defines c)
