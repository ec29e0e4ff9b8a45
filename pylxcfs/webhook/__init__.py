"""Pods get our files: the admission webhook, and the same done to manifests offline."""
