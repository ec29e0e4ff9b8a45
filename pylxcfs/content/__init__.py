"""From a virtual file and a container to bytes."""
