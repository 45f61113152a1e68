import dataclasses
import typing


class Secret(str):
    """Text that is not to be shown."""

    def set_secret_name(self, name):
        self.secret_name = name


class PromptTemplate(str):
    """Text of a template."""


class FilePath(str):
    """Path of a file."""


@dataclasses.dataclass
class AssistantDefinition:
    model: str
    instructions: str
    tools: typing.List

    @staticmethod
    def deserialize(data):
        return AssistantDefinition(data.get("model", ""), data.get("instructions", ""), data.get("tools", []))

    def serialize(self):
        return {"model": self.model, "instructions": self.instructions, "tools": self.tools}


class AttrDict(dict):
    def __getattr__(self, key):
        return self[key]

    def __setattr__(self, key, value):
        self[key] = value
