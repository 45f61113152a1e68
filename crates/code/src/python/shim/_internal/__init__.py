from promptflow._core.metric_logger import log_metric
from promptflow._core.tool import ToolProvider, tool
from promptflow.exceptions import ErrorResponse, ExceptionPresenter


def register_apis(cls):
    return cls


def register_builtins(function):
    return function


def register_builtin_method(function):
    return function


def enable_cache(calculate):
    return lambda function: function
