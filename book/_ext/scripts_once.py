"""Inline scripts once a page, not twice.

Sphinx 7 knows an inline script as nameless (None) where an extension adds it and as '' where it lists the scripts again
before writing, so those added late come out twice; and a second `const` is an error in the browser's console.
"""


def setup(app):
    app.connect("env-updated", forget_inline_scripts)
    return {"parallel_read_safe": True}


def forget_inline_scripts(app, env):
    """Drop them from the list that is read again: the builder has them already."""
    app.registry.js_files[:] = [script for script in app.registry.js_files if script[0] is not None]
