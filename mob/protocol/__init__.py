"""How other programs speak to a mob: messages and frames, both ends, without I/O."""
