"""cgroup values, whatever the layout, with cgroup v2 names and meaning."""
