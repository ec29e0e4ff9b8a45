"""What has to be remembered about a container between two reads."""
