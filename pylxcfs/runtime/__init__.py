"""How new containers get the files by themselves: runtime wrapper, OCI hook, CDI, runtimes' configuration."""
