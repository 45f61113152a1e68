import dataclasses


class ModelConfiguration:
    """Which model, and how to reach it."""

    def _check(self, *fields):
        if self.connection and any(fields):
            raise ValueError("Cannot configure model config and connection at the same time.")


@dataclasses.dataclass
class AzureOpenAIModelConfiguration(ModelConfiguration):
    azure_deployment: str
    azure_endpoint: str = None
    api_version: str = None
    api_key: str = dataclasses.field(default=None, repr=False)
    connection: str = None

    def __post_init__(self):
        self._type = "azure_openai"
        self._check(self.azure_endpoint, self.api_version, self.api_key)

    @classmethod
    def from_connection(cls, connection, azure_deployment):
        return cls(azure_deployment, connection.api_base, connection.api_version, connection.api_key)


@dataclasses.dataclass
class OpenAIModelConfiguration(ModelConfiguration):
    model: str
    base_url: str = None
    api_key: str = dataclasses.field(default=None, repr=False)
    organization: str = None
    connection: str = None

    def __post_init__(self):
        self._type = "openai"
        self._check(self.base_url, self.api_key, self.organization)

    @classmethod
    def from_connection(cls, connection, model):
        return cls(model, connection.base_url, connection.api_key, connection.organization)
