"""The pages: each is a function from a database and a request to HTML."""
