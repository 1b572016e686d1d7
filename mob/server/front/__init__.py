"""One port: who may come in, where what is served, and how many there may be."""
