"""What others' libraries get of sockets; each module needs one, and nothing imports any by itself."""
