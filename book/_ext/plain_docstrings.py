"""Let docstrings be plain prose: `code` in single backticks, indented code, lists without fuss, |a| and F * log F.

autodoc reads docstrings as reStructuredText, where |a| is a substitution and x_ a link. This turns the plain text into
what reStructuredText shows the same way; Google sections (Args, Returns, Raises, ...) are left to napoleon.
"""

import re

SECTION = re.compile(r"(Args|Arguments|Attributes|Returns|Yields|Raises|Examples?|Notes?|Warns):$")
ITEM = re.compile(r"(-|\*|\d+\.) ")
CODE = re.compile(r"(``.+?``|`[^`]+`)")


def setup(app):
    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon, which has 500
    return {"parallel_read_safe": True}


def process(app, what, name, obj, options, lines):
    lines[:] = plain(lines)


def plain(lines):
    """The lines of a docstring as reStructuredText that reads the same."""
    result, mode = [], ""
    for line in lines:
        text = line.strip()
        if not text:
            result.append("")
            mode = "" if mode == "text" else mode
            continue
        if line[0] != " ":
            new = "section" if SECTION.match(text) else "list" if ITEM.match(text) else "text"
            if mode and mode != new and result[-1]:
                result.append("")
            mode = new
        elif mode in ("", "text"):  # indented, and no item or section to belong to: code, a formula, a table
            result += ["", "::", ""]
            mode = "literal"
        result.append(line if mode == "literal" else escape(line))
    return result


def escape(line):
    """Escape what reStructuredText would take for markup, outside of backticks and but for an item's `*`."""
    start = re.match(r"\s*(\* )?", line).end()
    parts = CODE.split(line[start:])
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", parts[place])
    return line[:start] + "".join(parts)
