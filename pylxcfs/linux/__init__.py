"""What the kernel offers and Python has no words for; nothing here knows of pylxcfs."""
