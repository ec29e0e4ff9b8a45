"""From a process to its container."""
