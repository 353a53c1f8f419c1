"""The tables, a module each: their rows, and the statements that read and write them."""
