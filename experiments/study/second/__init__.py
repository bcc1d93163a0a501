"""The second study, by the rules of PROTOCOL_2.md: settings, the command that runs its tables, and what is made of them."""
