"""The application: settings, services put together, routes."""
