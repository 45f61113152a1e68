from promptflow._core.tool import DynamicList, GeneratedBy, InputSetting
from promptflow.connections import (
    AzureAIServicesConnection,
    AzureContentSafetyConnection,
    AzureOpenAIConnection,
    CognitiveSearchConnection,
    CustomConnection,
    CustomStrongTypeConnection,
    FormRecognizerConnection,
    OpenAIConnection,
    SerpConnection,
    ServerlessConnection,
)


class FlowContext:
    """Settings of a loaded flow; kept, not used."""

    def __init__(self, **settings):
        self.__dict__.update(settings)
