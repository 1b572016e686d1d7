"""Chat completions with a member as the model."""
