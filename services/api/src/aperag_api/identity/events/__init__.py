"""What is published of users and their keys."""
