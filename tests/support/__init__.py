"""What the tests build on a real machine: cgroups, containers, daemons, docker; all of it taken down."""
