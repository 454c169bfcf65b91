"""Turns docstrings into Markdown, for the site's reference; a griffe extension.

Examples become code blocks, and a public name in backticks a link to it.
"""

import re
from typing import Any

import griffe
from public_names import link_names

# From `>>>` to the next empty line.
_EXAMPLE = re.compile(r'^>>> .*(?:\n(?!$).*)*', re.M)


class DocstringMarkdown(griffe.Extension):
  """Rewrites each docstring before mkdocstrings reads its sections."""

  def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
    """Rewrites the docstring of an object."""
    if obj.docstring:
      text = _EXAMPLE.sub(r'```pycon\n\g<0>\n```', obj.docstring.value)
      obj.docstring.value = link_names(text, but=obj.name)
