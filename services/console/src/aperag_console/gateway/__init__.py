"""The console's only neighbour: the gateway, asked as whoever is signed in."""
