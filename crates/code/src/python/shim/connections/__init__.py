import dataclasses

from promptflow.contracts.types import Secret


class _Connection:
    """Where a service is and how to log in. Fields are attributes and items; secrets print as dots."""

    TYPE = "Connection"

    def __init__(self, name=None, configs=None, secrets=None, module="promptflow.connections", **kwargs):
        set_plain = super().__setattr__
        set_plain("name", name)
        set_plain("type", self.TYPE)
        set_plain("class_name", type(self).__name__)
        set_plain("module", module)
        set_plain("configs", dict(configs or {}))
        set_plain("secrets", dict(secrets or {}))

    def keys(self):
        return list(self.configs) + list(self.secrets)

    def __getitem__(self, item):
        for fields in (self.secrets, self.configs):
            if item in fields:
                return fields[item]
        raise KeyError("Key %r not found in connection %r." % (item, self.name))

    def __contains__(self, item):
        return item in self.secrets or item in self.configs

    def __iter__(self):
        return iter(self.keys())

    def __repr__(self):
        shown = ["%s=%r" % pair for pair in self.configs.items()] + ["%s='••••'" % key for key in self.secrets]
        return "%s(%s)" % (type(self).__name__, ", ".join(["name=%r" % self.name] + shown))


def _field(name):
    return property(lambda self: self.configs.get(name), lambda self, value: self.configs.__setitem__(name, value))


class _StrongTypeConnection(_Connection):
    @property
    def api_key(self):
        return self.secrets.get("api_key")

    @api_key.setter
    def api_key(self, value):
        self.secrets["api_key"] = value


class _TokenConnection(_StrongTypeConnection):
    auth_mode = _field("auth_mode")

    def get_token(self):
        raise NotImplementedError("connection %r: Flowbench takes no cloud token inside Python code; use a key" % self.name)


def _secrets(api_key, auth_mode="key"):
    return {"api_key": api_key} if auth_mode == "key" else {}


class AzureOpenAIConnection(_TokenConnection):
    TYPE = "AzureOpenAI"
    api_base, api_type, api_version, resource_id = _field("api_base"), _field("api_type"), _field("api_version"), _field("resource_id")

    def __init__(self, api_base, api_key=None, api_type="azure", api_version="2024-02-01", auth_mode="key", resource_id=None, **kwargs):
        configs = {"api_base": api_base, "api_type": api_type, "api_version": api_version, "auth_mode": auth_mode, "resource_id": resource_id}
        super().__init__(configs=configs, secrets=_secrets(api_key, auth_mode), **kwargs)

    @classmethod
    def from_env(cls, name=None):
        import os

        return cls(api_base=os.environ["AZURE_OPENAI_ENDPOINT"], api_key=os.environ["AZURE_OPENAI_API_KEY"],
                   api_version=os.environ.get("OPENAI_API_VERSION", "2024-02-01"), name=name)


class OpenAIConnection(_StrongTypeConnection):
    TYPE = "OpenAI"
    base_url, organization = _field("base_url"), _field("organization")

    def __init__(self, api_key=None, organization=None, base_url=None, **kwargs):
        super().__init__(configs={"base_url": base_url, "organization": organization}, secrets=_secrets(api_key), **kwargs)

    @classmethod
    def from_env(cls, name=None):
        import os

        return cls(api_key=os.environ["OPENAI_API_KEY"], organization=os.environ.get("OPENAI_ORG_ID"),
                   base_url=os.environ.get("OPENAI_BASE_URL"), name=name)


class ServerlessConnection(_StrongTypeConnection):
    TYPE = "Serverless"
    api_base = _field("api_base")

    def __init__(self, api_key=None, api_base=None, **kwargs):
        super().__init__(configs={"api_base": api_base}, secrets=_secrets(api_key), **kwargs)


class SerpConnection(_StrongTypeConnection):
    TYPE = "Serp"

    def __init__(self, api_key=None, **kwargs):
        super().__init__(secrets=_secrets(api_key), **kwargs)


class _SearchConnection(_StrongTypeConnection):
    api_base = _field("api_base")

    def __init__(self, api_key=None, api_base=None, **kwargs):
        super().__init__(configs={"api_base": api_base}, secrets=_secrets(api_key), **kwargs)


class QdrantConnection(_SearchConnection):
    TYPE = "Qdrant"


class WeaviateConnection(_SearchConnection):
    TYPE = "Weaviate"


class CognitiveSearchConnection(_TokenConnection):
    TYPE = "CognitiveSearch"
    api_base, api_version = _field("api_base"), _field("api_version")

    def __init__(self, api_base, api_key=None, api_version="2023-11-01", auth_mode="key", **kwargs):
        configs = {"api_base": api_base, "api_version": api_version, "auth_mode": auth_mode}
        super().__init__(configs=configs, secrets=_secrets(api_key, auth_mode), **kwargs)


class AzureAIServicesConnection(_TokenConnection):
    TYPE = "AzureAIServices"
    endpoint = _field("endpoint")

    def __init__(self, endpoint, api_key=None, auth_mode="key", **kwargs):
        super().__init__(configs={"endpoint": endpoint, "auth_mode": auth_mode}, secrets=_secrets(api_key, auth_mode), **kwargs)


class AzureContentSafetyConnection(_StrongTypeConnection):
    TYPE = "AzureContentSafety"
    endpoint, api_version, api_type = _field("endpoint"), _field("api_version"), _field("api_type")

    def __init__(self, api_key=None, endpoint=None, api_version="2023-10-01", api_type="Content Safety", **kwargs):
        configs = {"endpoint": endpoint, "api_version": api_version, "api_type": api_type}
        super().__init__(configs=configs, secrets=_secrets(api_key), **kwargs)


class FormRecognizerConnection(AzureContentSafetyConnection):
    TYPE = "FormRecognizer"

    def __init__(self, api_key=None, endpoint=None, api_version="2023-07-31", api_type="Form Recognizer", **kwargs):
        super().__init__(api_key, endpoint, api_version, api_type, **kwargs)


class CustomConnection(_Connection):
    TYPE = "Custom"

    def __init__(self, secrets=None, configs=None, **kwargs):
        super().__init__(configs=configs, secrets=secrets, **kwargs)

    def __getattr__(self, item):
        # Reached only for names that are no attribute; `__dict__` avoids a loop while copying.
        for fields in (self.__dict__.get("secrets") or {}, self.__dict__.get("configs") or {}):
            if item in fields:
                return fields[item]
        raise AttributeError("connection %r has no field %r" % (self.__dict__.get("name"), item))

    def is_secret(self, item):
        return item in self.secrets


class CustomStrongTypeConnection(_Connection):
    """Base of a user's own connection class: annotated names are its fields, `Secret` marks secrets."""

    TYPE = "Custom"

    def __init__(self, secrets=None, configs=None, **kwargs):
        super().__init__(configs=configs, secrets=secrets, **kwargs)

    @classmethod
    def _declared(cls):
        declared = {}
        for base in reversed(cls.__mro__):
            declared.update(base.__dict__.get("__annotations__") or {})
        if not declared:
            # Python 3.14 keeps annotations lazily.
            declared = dict(getattr(cls, "__annotations__", None) or {})
        return declared

    def __getattribute__(self, item):
        declared = object.__getattribute__(self, "_declared")() if not item.startswith("_") else {}
        if item in declared:
            for fields in (self.secrets, self.configs):
                if item in fields:
                    return fields[item]
        return super().__getattribute__(item)

    def __setattr__(self, key, value):
        declared = type(self)._declared()
        if key in declared:
            (self.secrets if declared[key] in (Secret, "Secret") else self.configs)[key] = value
        else:
            super().__setattr__(key, value)


@dataclasses.dataclass
class BingConnection:
    api_key: Secret = dataclasses.field(repr=False)
    url: str = "https://api.bing.microsoft.com/v7.0/search"
