import logging
import sys


def get_logger(name):
    """A logger that writes to the node's standard output."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler(sys.stdout))
        logger.setLevel(logging.INFO)
    return logger


class LoggerFactory:
    get_logger = staticmethod(get_logger)


logger = get_logger("flowbench")
bulk_logger = flow_logger = logger
