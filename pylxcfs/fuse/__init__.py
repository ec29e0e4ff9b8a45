"""The FUSE side: connection, session loop, inodes, handles, and the one errno boundary."""
