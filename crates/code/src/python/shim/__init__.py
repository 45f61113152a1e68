# Stands in for prompt flow's package: the names that node sources import, answered by Flowbench.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)
__version__ = "0.0.0+flowbench"

from promptflow._core.metric_logger import log_metric
from promptflow._core.tool import ToolProvider, tool

log_flow_metric = log_metric


def __getattr__(name):
    if name in ("PFClient", "load_flow", "load_run"):
        import promptflow.client

        return getattr(promptflow.client, name)
    raise AttributeError("module 'promptflow' has no attribute %r" % name)
