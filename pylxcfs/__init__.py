"""pylxcfs: /proc files that tell a container about itself instead of about its host."""

__version__ = "0.1.0"
