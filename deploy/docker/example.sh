#!/bin/sh
# What everybody tries first: a container of 100 MiB and one CPU, with six files.
#   MOUNT_POINT=/run/pylxcfs/lxcfs IMAGE=debian deploy/docker/example.sh free -m
set -eu
mount_point=${MOUNT_POINT:-/var/lib/lxcfs}
exec docker run --rm -m 100m --cpuset-cpus 0 \
    -v "$mount_point/proc/cpuinfo:/proc/cpuinfo:ro" \
    -v "$mount_point/proc/diskstats:/proc/diskstats:ro" \
    -v "$mount_point/proc/meminfo:/proc/meminfo:ro" \
    -v "$mount_point/proc/stat:/proc/stat:ro" \
    -v "$mount_point/proc/swaps:/proc/swaps:ro" \
    -v "$mount_point/proc/uptime:/proc/uptime:ro" \
    "${IMAGE:-ubuntu}" "${@:-top}"
