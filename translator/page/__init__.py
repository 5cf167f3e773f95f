"""The page: a request and what becomes of it, to look at.

`view` gathers what is shown as one JSON object, `html` writes the page around it. The page is one
file without network: styles, script and the plotting library stand in it.
"""

from translator.page.html import html
from translator.page.view import view

__all__ = ["html", "view"]
