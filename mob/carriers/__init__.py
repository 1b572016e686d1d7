"""What brings messages between programs: lines of a stream, the standard streams, frames of a WebSocket."""
