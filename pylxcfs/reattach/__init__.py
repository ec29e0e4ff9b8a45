"""Binds of our files in running containers: found, planted anew, taken away (docs/reattach.md)."""
