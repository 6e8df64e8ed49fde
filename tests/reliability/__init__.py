"""What the package survives: many sockets on few database connections, databases that restart, deploys."""
