import flowbench_host
from promptflow._core.tool import tool
from promptflow.tools.common import _connection


@tool
def embedding(connection, input, deployment_name="", model=""):
    """The vector of a text."""
    return flowbench_host.call("embed", {"connection": _connection(connection), "model": deployment_name or model, "input": input})
