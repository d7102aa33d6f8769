"""Show references such as :class:`~isinglass.units.Spin`, and continued blocks, as plain code.

What the theme leaves to be named is named here, too.
"""

import re
from typing import Any

ROLE = re.compile(r":(?:class|meth|func|mod|attr):<code>(~?)([\w.]+)</code>")
SEARCH = 'data-md-component="search"'
CONTINUED = re.compile(r"^```python continuation$", re.MULTILINE)


def _plain(match: re.Match[str]) -> str:
    short, name = match.groups()
    return f"<code>{name.rpartition('.')[2] if short else name}</code>"


def on_page_content(html: str, **_: Any) -> str:
    """Drop the role in front of a name; a tilde shortens the name to its last part."""
    return ROLE.sub(_plain, html)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Drop the word by which tests join a block to the one before."""
    return CONTINUED.sub("```python", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Name the dialog of the search for who does not see it, which the theme leaves out."""
    named = 'role="dialog" aria-label="Search"'
    return output.replace(f'{SEARCH} role="dialog"', f"{SEARCH} {named}")
