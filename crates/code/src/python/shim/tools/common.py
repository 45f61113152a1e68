import flowbench_host


def to_bool(value):
    return str(value).lower() == "true"


def render_jinja_template(template_content, trim_blocks=True, keep_trailing_newline=True, escape_dict=None, **kwargs):
    """Renders a template as prompt nodes do."""
    return flowbench_host.call("render_template", {
        "template": template_content,
        "variables": kwargs,
        "trim_blocks": trim_blocks,
        "keep_trailing_newline": keep_trailing_newline,
    })


def parse_chat(chat_str, images=None, valid_roles=None, image_detail="auto", escape_dict=None):
    """Splits rendered text into messages at its role lines."""
    pictures = {str(image): {"url": image.source_url or image.to_base64(with_type=True)} for image in images or []}
    return flowbench_host.call("parse_chat", {
        "text": chat_str,
        "images": pictures,
        "roles": list(valid_roles) if valid_roles else None,
        "image_detail": image_detail,
    })


class ChatInputList(list):
    """A list that prints one item a line."""

    def __str__(self):
        return "\n".join(map(str, self))


def _connection(connection):
    if connection is None or isinstance(connection, str):
        return connection
    kinds = {"AzureOpenAI": "azure_open_ai", "OpenAI": "open_ai", "Serverless": "serverless"}
    kind = kinds.get(connection.type, connection.type)
    given = {key: value for key, value in connection.configs.items() if value is not None}
    return {"name": connection.name, "kind": kind, "fields": given, "secrets": dict(connection.secrets)}


def ask_model(method, connection, model, prompt, stream, parameters, variables):
    """One model call through the host: a chat or a completion of a template with its variables."""
    reply = flowbench_host.call(method, {
        "connection": _connection(connection),
        "model": model.value if hasattr(model, "value") else model,
        "prompt": prompt,
        "variables": variables,
        "parameters": {key: value for key, value in parameters.items() if value not in (None, "", [], {})},
    })
    if to_bool(stream) and isinstance(reply, str):
        return iter([reply])
    return reply
