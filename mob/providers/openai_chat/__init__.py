"""OpenAI Chat Completions, which is also the self-hosted wire (Ollama, vLLM, llama.cpp): both ends, no I/O."""
