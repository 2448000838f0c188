"""Job kinds: what asynchronous work there is, declared once and read by all that has to know."""
