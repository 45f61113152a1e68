import flowbench_host


def log_metric(key, value, variant_id=None):
    """Stores a metric of this run; only an aggregation node has any."""
    flowbench_host.log_metric(key, value, variant_id)


def add_metric_logger(logger):
    """Kept for sources that call it; metrics reach the run by themselves."""


def remove_metric_logger(logger):
    """The other half of `add_metric_logger`."""
