import flowbench_host
from promptflow.core._flow import Flow


class _Connections:
    def get(self, name, **kwargs):
        """A connection by name, from Flowbench's connection files."""
        import flowbench_worker

        return flowbench_worker.build_connection(flowbench_host.call("connection", {"name": name}), None)


class PFClient:
    """Only connections: runs are Flowbench's own affair."""

    def __init__(self, *args, **kwargs):
        self.connections = _Connections()

    def __getattr__(self, name):
        raise NotImplementedError("PFClient.%s is not available inside a Flowbench node; use the `flowbench` command" % name)


def load_flow(source, **kwargs):
    return Flow.load(source)


def load_run(source, **kwargs):
    raise NotImplementedError("runs are not loaded inside a Flowbench node; use `flowbench batch`")
