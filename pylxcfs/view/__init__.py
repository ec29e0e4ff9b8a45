"""What one container owns, and what is known of its host."""
