"""The OpenAI Realtime wire as a door: any client of it talks with a member of a mob as it would with a model."""
