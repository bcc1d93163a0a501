"""The second study, by the rules of PROTOCOL_2.md: settings, the command of its tables, what is made of their rows."""
