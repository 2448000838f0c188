"""What goes on inside: tasks, queues, timers, dead letters, events, traces."""
