"""pylxcfsctl, the operator's tool: one module per command."""
