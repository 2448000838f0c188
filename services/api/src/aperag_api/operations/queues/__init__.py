"""All queues, workers and open work at once, for operators."""
