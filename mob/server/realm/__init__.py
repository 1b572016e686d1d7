"""What one server has: its mobs, sessions, configuration, and what it keeps of them."""
