"""What may be wrong with a daemon and its machine: facts are collected, and then judged, one subject each."""
