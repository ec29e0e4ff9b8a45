"""Who serves, and what happens when nobody does."""
