"""An executed notebook as one self-contained page: no code, no scripts, no request to any network."""

import re
from pathlib import Path

import nbformat
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

# Without the lab template's scripts, and with the alternative texts of pictures that it forgets.
PAGE = """{% extends 'index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block data_png scoped %}{% set alt = output | get_metadata('alt', 'image/png') %}
{{ super() | replace('<img ', '<img alt="' ~ (alt | escape_html) ~ '" ', 1) if alt else super() }}
{% endblock %}
"""


class _MathRenderer(IPythonRenderer):
    """Formulas as MathML, which browsers draw by themselves."""

    def block_math(self, body: str) -> str:
        return LatexToMathML().convert_with_local_state(body, displaystyle=True)

    def inline_math(self, body: str) -> str:
        return LatexToMathML().convert_with_local_state(body, displaystyle=False)

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def render(path: Path, suffix: str = "") -> str:
    """Return the page of an executed notebook.

    The page's title is the notebook's `title` metadata or its first heading, followed by the suffix. Raises
    `math_core.LatexError` for a formula that cannot be read.
    """
    nb = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    heading = re.search(r"^#+ +(.+?)\s*$", text, flags=re.M)
    title = nb.metadata.get("title") or (heading[1] if heading else path.stem)
    nb.metadata["title"] = title + suffix
    hidden = {"exclude_input": True, "exclude_input_prompt": True, "exclude_output_prompt": True}
    exporter = HTMLExporter(raw_template=PAGE, **hidden)
    markdown = MarkdownWithMath(_MathRenderer(escape=False))
    exporter.register_filter("markdown2html", markdown.render)
    return exporter.from_notebook_node(nb)[0]
