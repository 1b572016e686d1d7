"""REST, health, metrics, and OpenAI's endpoints that are plain HTTP."""
