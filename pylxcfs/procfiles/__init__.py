"""The virtual files: one module each with a pure ``render(view, host)``, and the table of all."""
