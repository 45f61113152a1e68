from promptflow._core.tool import ToolProvider, tool
from promptflow.tools.common import ask_model


@tool
def chat(connection, prompt, deployment_name="", temperature=1.0, top_p=1.0, stream=False, stop=None, max_tokens=None,
         presence_penalty=None, frequency_penalty=None, logit_bias=None, user="", function_call=None, functions=None,
         tool_choice=None, tools=None, response_format=None, seed=None, n=None, **kwargs):
    """Text of the first choice; the whole message where tools or functions were given."""
    parameters = dict(
        temperature=temperature, top_p=top_p, stop=stop, max_tokens=max_tokens, presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty, logit_bias=logit_bias, user=user, response_format=response_format, seed=seed,
    )
    if tools:
        parameters.update(tools=tools, tool_choice=tool_choice, n=n)
    elif functions:
        parameters.update(functions=functions, function_call=function_call)
    return ask_model("chat", connection, deployment_name, prompt, stream, parameters, kwargs)


@tool
def completion(connection, prompt, deployment_name="", suffix=None, max_tokens=16, temperature=1.0, top_p=1.0, n=1, stream=False,
               logprobs=None, echo=False, stop=None, presence_penalty=None, frequency_penalty=None, best_of=1,
               logit_bias=None, user="", **kwargs):
    """Text that continues the prompt."""
    parameters = dict(
        suffix=suffix, max_tokens=max_tokens, temperature=temperature, top_p=top_p, logprobs=logprobs, echo=echo or None,
        stop=stop, presence_penalty=presence_penalty, frequency_penalty=frequency_penalty, logit_bias=logit_bias, user=user,
        best_of=best_of if best_of != 1 else None,
    )
    return ask_model("complete", connection, deployment_name, prompt, stream, parameters, kwargs)


class AzureOpenAI(ToolProvider):
    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def chat(self, prompt, **kwargs):
        return chat(self.connection, prompt, **kwargs)

    def completion(self, prompt, **kwargs):
        return completion(self.connection, prompt, **kwargs)
