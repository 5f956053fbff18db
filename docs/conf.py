"""Configuration of the site that `make docs` builds. `layerwise_docs` makes the parts that come from the code."""

import sys
from pathlib import Path

import layerwise

sys.path.insert(0, str(Path(__file__).parent))

project = "layerwise"
author = "The layerwise developers"
copyright = author  # Sphinx's name
version = release = layerwise.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "layerwise_docs"]
exclude_patterns = ["layerwise_docs", "**.ipynb_checkpoints"]
# Code may be in a language that Pygments doesn't know.
suppress_warnings = ["misc.highlighting_failure"]

# Pages.
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the notebooks hold their outputs, which tests make anew
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # nothing is fetched from elsewhere
smartquotes = False

# Docstrings, whose text in single backticks is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
napoleon_preprocess_types = False
# Types of other libraries, and of layerwise's own private modules, have no page.
nitpick_ignore_regex = [("py:.*", r"(?!layerwise\.[A-Za-z]+$).*")]

# Looks. Nothing is fetched from elsewhere: no font, no script, no badge.
html_theme = "furo"
html_title = "layerwise"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_search_language = "zh"  # words of English too: jieba divides those of Chinese
html_show_search_summary = False  # a browser that opens the site from a disk may not read other pages
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
