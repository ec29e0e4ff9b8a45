"""Binds of our files in running containers: found, attached anew, taken away (docs/reattach.md)."""
