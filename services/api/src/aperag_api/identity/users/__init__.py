"""Who there is: registering, changing a password, being deleted."""
