"""Live channels that a server holds for programs that hold nothing but an id."""
