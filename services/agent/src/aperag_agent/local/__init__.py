"""The built-in model: no key, no network; it searches, and answers with sentences of what it found."""
