"""Where results come from: code, program, machine and people, without any secret.

Nothing here raises because of what it finds: what cannot be known is left out.
"""
