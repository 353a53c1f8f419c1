"""Ray gives its start 30 s, which a busy machine does not have: here it is tried again."""

TRIES = 4

LATE = "timed out during startup"


def patiently(start):
    """Return what a function returns that starts a Ray in this process."""
    import ray

    for _ in range(TRIES - 1):
        try:
            return start()
        except Exception as error:
            if LATE not in str(error):
                raise
            ray.shutdown()
    return start()
