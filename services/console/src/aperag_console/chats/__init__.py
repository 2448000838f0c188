"""Questions and answers: streamed while they are made, with the passages that they rest on."""
