"""How sphinx makes a site of the pages here and of the docstrings: make docs.

The pages are Markdown as GitHub shows it. So the whole repository is the source, and links from
page to page, to headings and to files are right in both.
"""

from __future__ import annotations

import governor

project = "governor"
version = release = governor.__version__
html_title = f"governor {version}"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "examples/*.md"]
exclude_patterns = ["docs/conf.py"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 6
suppress_warnings = ["myst.header"]

# In docstrings `name` refers to something where it can, and ``name`` never does.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
