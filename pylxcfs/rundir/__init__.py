"""Everything that is written below the runtime directory."""
