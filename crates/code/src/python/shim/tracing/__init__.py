# Tracing belongs to the engine's run record; these names only let sources import them.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

import concurrent.futures


def trace(func=None, **options):
    """Returns the function as it is."""
    return func if func is not None else (lambda function: function)


def start_trace(*args, **kwargs):
    """Nothing to start: every run is recorded."""


ThreadPoolExecutorWithContext = concurrent.futures.ThreadPoolExecutor
