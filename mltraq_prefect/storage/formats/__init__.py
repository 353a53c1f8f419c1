"""The format of the tables: how the newest is made, and how older ones become it."""
