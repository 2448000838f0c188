"""What a client must know before anybody has logged in."""
