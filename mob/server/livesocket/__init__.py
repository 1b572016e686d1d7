"""The live socket: one WebSocket to a live channel."""
