"""Work of the whole installation, for administrators: queues, what runs, what was given up, timers."""
