import dataclasses
import enum
import inspect
import typing


class ToolType(str, enum.Enum):
    LLM = "llm"
    PYTHON = "python"
    CSHARP = "csharp"
    PROMPT = "prompt"
    CUSTOM_LLM = "custom_llm"


def tool(func=None, *, name=None, description=None, type=None, input_settings=None, streaming_option_parameter=None, **extra):
    """Marks the function of a node. Works with and without arguments."""

    def mark(function):
        # Double underscores are set by text: inside a class they would be mangled.
        for key, value in (("__tool", None), ("__name", name), ("__description", description), ("__type", type)):
            setattr(function, key, value)
        setattr(function, "__input_settings", input_settings)
        setattr(function, "__extra_info", extra)
        return function

    return mark if func is None else mark(func)


class ToolProvider:
    """Base of classes whose methods are tools; arguments of `__init__` become inputs of each."""

    @classmethod
    def get_initialize_inputs(cls):
        return {key: value for key, value in inspect.signature(cls.__init__).parameters.items() if key != "self"}

    @classmethod
    def get_required_initialize_inputs(cls):
        return {key: value for key, value in cls.get_initialize_inputs().items() if value.default is inspect.Parameter.empty}


@dataclasses.dataclass
class InputSetting:
    """How an editor shows an input; kept, not used."""

    is_multi_select: bool = None
    allow_manual_entry: bool = None
    enabled_by: str = None
    enabled_by_value: typing.List = None
    dynamic_list: object = None
    generated_by: object = None
    ui_hints: typing.Dict = None

    def __init__(self, **settings):
        for field in dataclasses.fields(self):
            setattr(self, field.name, settings.pop(field.name, None))
        self.additional_settings = settings


class DynamicList:
    def __init__(self, function, input_mapping=None):
        self.function, self.input_mapping = function, input_mapping or {}


class GeneratedBy:
    def __init__(self, function, reverse_function, input_settings=None):
        self.function, self.reverse_function, self.input_settings = function, reverse_function, input_settings
