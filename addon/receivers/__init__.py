"""TCP ways in: syslog, plain and over TLS, and the Fluentd forward protocol. Same durable path as HTTP."""
