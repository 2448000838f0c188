"""Chat completions in the form of OpenAI's API: every bot is a model."""
