import dataclasses
import os

import flowbench_host


def _plain_model(model):
    """A model override as plain data; configuration objects become maps with their type."""
    model = dict(model or {})
    configuration = model.get("configuration")
    if dataclasses.is_dataclass(configuration):
        fields = {field.name: getattr(configuration, field.name) for field in dataclasses.fields(configuration)}
        model["configuration"] = dict({key: value for key, value in fields.items() if value is not None}, type=configuration._type)
    return model


def _path(source, base=None):
    path = os.fspath(source)
    return path if os.path.isabs(path) else os.path.join(base or os.getcwd(), path)


class Prompty:
    """A `.prompty` file that can be called like a function; the host makes the model call."""

    def __init__(self, path, model=None, **kwargs):
        self.path, self._model = _path(path), _plain_model(model)

    @classmethod
    def load(cls, source, **kwargs):
        if not os.path.isfile(_path(source)):
            raise FileNotFoundError("no prompty file at %r" % os.fspath(source))
        return cls(source, **kwargs)

    def _ask(self, method, inputs):
        return flowbench_host.call(method, {"path": self.path, "inputs": inputs, "model": self._model})

    def __call__(self, *args, **kwargs):
        if args:
            raise TypeError("a prompty takes keyword arguments only")
        return self._ask("run_prompty", kwargs)

    def render(self, *args, **kwargs):
        return self._ask("render_prompty", kwargs)


class AsyncPrompty(Prompty):
    async def __call__(self, *args, **kwargs):
        import asyncio

        return await asyncio.to_thread(super().__call__, *args, **kwargs)


class Flow:
    """A flow folder that can be called like a function."""

    def __init__(self, path):
        self.path, self.context = _path(path), None

    @classmethod
    def load(cls, source, **kwargs):
        return cls(source)

    def __call__(self, *args, **kwargs):
        if args:
            raise TypeError("a flow takes keyword arguments only")
        return flowbench_host.call("run_flow", {"path": self.path, "inputs": kwargs})

    def invoke(self, inputs, **kwargs):
        return self(**inputs)


class AsyncFlow(Flow):
    async def __call__(self, *args, **kwargs):
        import asyncio

        return await asyncio.to_thread(super().__call__, *args, **kwargs)
