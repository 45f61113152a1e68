__path__ = __import__("pkgutil").extend_path(__path__, __name__)

from promptflow._core.metric_logger import log_metric
from promptflow._core.tool import ToolProvider, tool
from promptflow.core._flow import AsyncFlow, AsyncPrompty, Flow, Prompty
from promptflow.core._model_configuration import AzureOpenAIModelConfiguration, ModelConfiguration, OpenAIModelConfiguration

log_flow_metric = log_metric
