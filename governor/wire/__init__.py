"""What goes over sockets: one frozen class per kind of message, msgpack on the wire."""
