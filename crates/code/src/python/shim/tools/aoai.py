from promptflow._core.tool import ToolProvider, tool
from promptflow.tools import openai


@tool
def chat(connection, prompt, deployment_name="", **kwargs):
    """As for OpenAI; Azure has deployments where OpenAI has models."""
    return openai.chat(connection, prompt, model=deployment_name, **kwargs)


@tool
def completion(connection, prompt, deployment_name="", **kwargs):
    """As for OpenAI; Azure has deployments where OpenAI has models."""
    return openai.completion(connection, prompt, model=deployment_name, **kwargs)


class AzureOpenAI(ToolProvider):
    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def chat(self, prompt, **kwargs):
        return chat(self.connection, prompt, **kwargs)

    def completion(self, prompt, **kwargs):
        return completion(self.connection, prompt, **kwargs)
