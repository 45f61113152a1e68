# The worker process: imports the user's modules, runs one call after another, answers over the protocol.
#
# Frames are a big-endian length of four bytes and JSON. Standard output and standard error belong to the
# user's code and are drained by the host; after each call a marker in both tells the host where it ended.
import importlib
import importlib.machinery
import importlib.util
import inspect
import io
import itertools
import json
import os
import queue
import signal
import struct
import sys
import threading
import traceback
import typing

OWN_FRAMES = ("<flowbench", "<frozen importlib", "<frozen runpy", "<string>")
MAX_TRACEBACK = 32 * 1024
MAX_DEPTH = 100
PIECES_KEY = "flowbench.pieces"


class LoadFailure(Exception):
    """The source holds nothing to call."""


class LimitFailure(Exception):
    """The result is larger than a limit."""


class HostCallFailed(RuntimeError):
    """The host refused or failed a request of the code."""


# Values ---------------------------------------------------------------------------------------------------


class Encoder:
    """Turns Python values into JSON text that every reader accepts, noting what it had to change."""

    def __init__(self):
        self.warnings = []

    def warn(self, text):
        if text not in self.warnings and len(self.warnings) < 20:
            self.warnings.append(text)

    def encode(self, value):
        try:
            text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=self.default)
            return text.encode("utf-8")
        except (TypeError, ValueError, RecursionError):
            # UnicodeEncodeError is a ValueError: lone surrogates take the careful way too.
            plain = self.plain(value, 0)
            return json.dumps(plain, allow_nan=False, ensure_ascii=False).encode("utf-8")

    def plain(self, value, depth):
        if depth > MAX_DEPTH:
            raise LimitFailure("the result is nested more than %d levels deep, or holds itself" % MAX_DEPTH)
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is int:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float):
            value = float(value)
            if value != value or value in (float("inf"), float("-inf")):
                self.warn("`%s` is no JSON number; null was stored" % value)
                return None
            return value
        if isinstance(value, dict):
            return {self.key(key): self.plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item, depth + 1) for item in value]
        if isinstance(value, int):
            return int(value)
        return self.plain(self.default(value), depth + 1)

    def text(self, value):
        try:
            value.encode("utf-8")
            return str(value)
        except UnicodeEncodeError:
            self.warn("the text holds lone surrogates; they were replaced")
            return value.encode("utf-8", "replace").decode("utf-8")

    def key(self, key):
        if isinstance(key, str):
            return self.text(key)
        if key is None or isinstance(key, (bool, int, float)):
            return {None: "null", True: "true", False: "false"}[key] if key is None or isinstance(key, bool) else str(key)
        self.warn("a key of type `%s` was stored as text" % type(key).__name__)
        return self.text(str(key))

    def default(self, value):
        """A plain stand-in for a value that JSON does not know."""
        kind = type(value)
        if hasattr(value, "to_base64") and hasattr(value, "_mime_type"):
            return image_to_wire(value)
        if hasattr(value, "secrets") and hasattr(value, "configs") and hasattr(value, "keys"):
            self.warn("a connection is no result; its secrets were left out")
            return {"name": value.name, "type": getattr(value, "type", None), "configs": dict(value.configs)}
        fields = getattr(kind, "__dataclass_fields__", None)
        if fields is not None:
            if hasattr(value, "serialize"):
                return value.serialize()
            return {name: getattr(value, name) for name in fields if hasattr(value, name)}
        for method in ("model_dump", "_asdict"):
            if callable(getattr(kind, method, None)):
                return getattr(value, method)()
        if any(base.__name__ == "BaseModel" for base in kind.__mro__) and callable(getattr(value, "dict", None)):
            return value.dict()
        if isinstance(value, (set, frozenset)):
            try:
                return sorted(value)
            except TypeError:
                return list(value)
        if isinstance(value, typing.Mapping):
            return dict(value)
        module = kind.__module__.partition(".")[0]
        if module == "enum" or any(base.__name__ == "Enum" for base in kind.__mro__):
            return value.value
        if module == "datetime" and hasattr(value, "isoformat"):
            return value.isoformat()
        if module == "numpy":
            if hasattr(value, "tolist"):
                return value.tolist()
        if module in ("uuid", "pathlib", "decimal"):
            return str(value)
        self.warn("a value of type `%s.%s` is no JSON; its text was stored" % (kind.__module__, kind.__qualname__))
        try:
            return repr(value)
        except Exception:
            return "<%s without a text form>" % kind.__qualname__


def image_to_wire(image):
    source = getattr(image, "source_url", None)
    if source:
        return {"data:%s;url" % image._mime_type: source}
    return {"data:%s;base64" % image._mime_type: image.to_base64()}


def is_image_wire(value):
    if len(value) == 1:
        key = next(iter(value))
        return isinstance(key, str) and key.startswith("data:image/") and key.rpartition(";")[2] in ("path", "base64", "url")
    if len(value) == 2 and value.get("type") in ("image_url", "image_file"):
        return isinstance(value.get(value["type"]), dict)
    return False


def image_from_wire(value):
    """The image object for a map in one of prompt flow's two wire forms."""
    multimedia = importlib.import_module("promptflow.contracts.multimedia")
    if len(value) == 1:
        (key, content), = value.items()
        mime, _, form = key[len("data:"):].rpartition(";")
        return load_image(multimedia.Image, form, content, None if mime == "image/*" else mime)
    if value["type"] == "image_file":
        return load_image(multimedia.Image, "path", value["image_file"].get("path", ""), None)
    return image_from_text(multimedia.Image, value["image_url"].get("url", ""))


def image_from_text(image_class, text):
    if text.startswith("data:") and ";base64," in text:
        mime, _, content = text[len("data:"):].partition(";base64,")
        return load_image(image_class, "base64", content, mime)
    return load_image(image_class, "url" if text.startswith(("http://", "https://")) else "path", text, None)


def load_image(image_class, form, content, mime):
    import base64

    if form == "base64":
        return image_class(base64.b64decode(content), mime_type=mime)
    if form == "path":
        with open(content, "rb") as file:
            return image_class(file.read(), mime_type=mime)
    fetched = WORKER.host_call("fetch", {"url": content})
    return image_class(base64.b64decode(fetched["base64"]), mime_type=mime or fetched.get("mime"), source_url=content)


def with_images(value, depth=0):
    """The value with every image map in it turned into an image object."""
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, dict):
        if value and is_image_wire(value):
            return image_from_wire(value)
        return {key: with_images(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [with_images(item, depth + 1) for item in value]
    return value


def may_hold_images(raw):
    return '"data:image/' in raw or '"image_url"' in raw or '"image_file"' in raw


class Pieces(str):
    """Text that another node streamed: reads as text, iterates as the pieces it came in."""

    def __new__(cls, pieces):
        text = super().__new__(cls, "".join(pieces))
        text.pieces = pieces
        return text

    def __iter__(self):
        return iter(self.pieces)


# Connections ----------------------------------------------------------------------------------------------

CONNECTION_CLASSES = {
    "open_ai": "OpenAIConnection",
    "azure_open_ai": "AzureOpenAIConnection",
    "serverless": "ServerlessConnection",
    "cognitive_search": "CognitiveSearchConnection",
    "azure_ai_services": "AzureAIServicesConnection",
    "azure_content_safety": "AzureContentSafetyConnection",
    "form_recognizer": "FormRecognizerConnection",
    "serp": "SerpConnection",
    "qdrant": "QdrantConnection",
    "weaviate": "WeaviateConnection",
}


def annotated_classes(annotation):
    """The classes that an annotation names, through Union and Optional."""
    if isinstance(annotation, type):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in annotated_classes(argument)]


def build_connection(wire, annotation):
    classes = importlib.import_module("promptflow.connections")
    name, fields, secrets = wire["name"], dict(wire["fields"]), dict(wire["secrets"])
    strong = getattr(classes, CONNECTION_CLASSES.get(wire["kind"], ""), None)
    if strong is not None:
        accepted = inspect.signature(strong.__init__).parameters
        merged = {key: value for key, value in {**fields, **secrets}.items() if key in accepted}
        return strong(name=name, **merged)
    base = getattr(classes, "CustomStrongTypeConnection")
    for candidate in annotated_classes(annotation):
        if issubclass(candidate, base) and candidate is not base:
            return candidate(name=name, configs=fields, secrets=secrets)
    return classes.CustomConnection(name=name, configs=fields, secrets=secrets)


# Loading --------------------------------------------------------------------------------------------------


class ShimFinder:
    """Finds the modules that the host sent: they live in memory, nothing is written."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        source = self.sources[name]
        spec = importlib.machinery.ModuleSpec(name, self, origin="<flowbench shim %s>" % name, is_package=source["package"])
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        text = self.sources[name]["text"]
        exec(compile(text, "<flowbench shim %s>" % name, "exec"), module.__dict__)


class Modules:
    """The user's modules, and whether their files are still what was imported."""

    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        self.by_path = {}
        self.seen = {}
        self.known = 0

    def stamp(self, path):
        try:
            status = os.stat(path)
            return (status.st_mtime_ns, status.st_size)
        except OSError:
            return None

    def note(self):
        """Remembers the state of every module file under the flow's folder."""
        if len(sys.modules) == self.known:
            return
        self.known = len(sys.modules)
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and path not in self.seen and os.path.realpath(path).startswith(self.folder + os.sep):
                self.seen[path] = self.stamp(path)

    def is_stale(self):
        return any(self.stamp(path) != stamp for path, stamp in self.seen.items())

    def from_file(self, relative):
        path = os.path.realpath(os.path.join(self.folder, relative))
        if path in self.by_path:
            return self.by_path[path]
        name = self.name_for(path)
        existing = sys.modules.get(name)
        if existing is not None and os.path.realpath(getattr(existing, "__file__", None) or "") == path:
            self.by_path[path] = existing
            return existing
        self.seen[path] = self.stamp(path)
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise LoadFailure("`%s` is no Python file" % relative)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        self.by_path[path] = module
        return module

    def name_for(self, path):
        """The name that siblings import it by, unless that is taken."""
        stem = os.path.splitext(os.path.relpath(path, self.folder))[0]
        name = stem.replace(os.sep, ".")
        parts = name.split(".")
        if all(part.isidentifier() for part in parts) and parts[0] not in getattr(sys, "stdlib_module_names", ()):
            taken = sys.modules.get(name)
            if taken is None and len(parts) == 1:
                return name
            if taken is not None and os.path.realpath(getattr(taken, "__file__", None) or "") == path:
                return name
        return "flowbench_node_" + "".join(c if c.isalnum() else "_" for c in stem) + "_%d" % len(self.by_path)


def is_tool(value):
    return inspect.isfunction(value) and hasattr(value, "__tool")


def find_tool(module, relative):
    """The one tool of a module: a function, or a class and the name of its method."""
    found = []
    for value in vars(module).values():
        if is_tool(value) and getattr(value, "__module__", None) == module.__name__:
            if not any(value is other for _, other in found):
                found.append((None, value))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for name in dir(value):
                method = inspect.getattr_static(value, name, None)
                if is_tool(method):
                    found.append((value, method))
    if not found:
        raise LoadFailure("`%s` has no function marked with `@tool`" % relative)
    if len(found) > 1:
        names = ", ".join("`%s`" % function.__name__ for _, function in found)
        raise LoadFailure("`%s` has %d functions marked with `@tool` (%s); exactly one is needed" % (relative, len(found), names))
    return found[0]


def find_dotted(dotted):
    """The class (or nothing) and function behind `package.module.function` or `package.module.Class.method`."""
    parts = dotted.split(".")
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if count > 1 and error.name and (name == error.name or name.startswith(error.name + ".")):
                continue
            raise
        value, owner = module, None
        for part in parts[count:]:
            owner, value = value, getattr(value, part, None)
            if value is None:
                raise LoadFailure("module `%s` has no `%s`" % (name, ".".join(parts[count:])))
        if not callable(value):
            raise LoadFailure("`%s` cannot be called" % dotted)
        return (owner if isinstance(owner, type) else None), value
    raise LoadFailure("`%s` names no module and function" % dotted)


def parameters_of(function):
    """Parameter names with their annotations, as far as they can be known."""
    original = inspect.unwrap(function)
    try:
        parameters = inspect.signature(original).parameters
    except (TypeError, ValueError):
        return {}
    try:
        hints = typing.get_type_hints(original)
    except Exception:
        hints = {}
    return {name: hints.get(name, parameter.annotation) for name, parameter in parameters.items()}


# Exceptions -----------------------------------------------------------------------------------------------


def trimmed(report, folder, seen):
    """Drops our own frames and shortens paths under the flow's folder, in causes too."""
    if report is None or id(report) in seen:
        return
    seen.add(id(report))
    frames = []
    for frame in report.stack:
        if frame.filename.startswith(OWN_FRAMES):
            continue
        frames.append(traceback.FrameSummary(relative_to(frame.filename, folder), frame.lineno, frame.name, line=frame.line or ""))
    report.stack = traceback.StackSummary.from_list(frames)
    if getattr(report, "filename", None):
        report.filename = relative_to(report.filename, folder)
    for part in (report.__cause__, report.__context__):
        trimmed(part, folder, seen)
    for part in getattr(report, "exceptions", None) or ():
        trimmed(part, folder, seen)


def relative_to(path, folder):
    real = os.path.realpath(path)
    return os.path.relpath(real, folder) if real.startswith(folder + os.sep) else path


def describe(error, folder):
    try:
        message = str(error)
    except Exception:
        message = "(the exception has no text)"
    report = traceback.TracebackException.from_exception(error)
    trimmed(report, folder, set())
    place = None
    if isinstance(error, SyntaxError) and error.filename:
        place = (relative_to(error.filename, folder), error.lineno)
        message = error.msg or message
    else:
        for frame in report.stack:
            if not os.path.isabs(frame.filename) or place is None:
                place = (frame.filename, frame.lineno)
    text = "".join(report.format())
    if len(text) > MAX_TRACEBACK:
        text = "[earlier frames left out]\n" + text[-MAX_TRACEBACK:]
    clean = lambda value: value.encode("utf-8", "replace").decode("utf-8")
    return {
        "exception": type(error).__qualname__,
        "message": clean(message[:16384]),
        "traceback": clean(text),
        "file": clean(place[0]) if place else None,
        "line": place[1] if place else None,
        "missing_module": clean(error.name) if isinstance(error, ModuleNotFoundError) and error.name else None,
    }


# The worker -----------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, fd, exactly, hello):
        self.fd = fd
        self.exactly = exactly
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.pending = {}
        self.ids = itertools.count(1)
        self.calls = queue.SimpleQueue()
        self.folder = hello["folder"]
        self.max_result = hello["max_result_bytes"]
        self.outputs = [os.dup(1), os.dup(2)]
        self.modules = Modules(self.folder)
        self.instances = {}
        self.loop = None
        self.metrics = None
        self.encoder = Encoder()

    # Protocol

    def send(self, body):
        if os.getpid() != self.pid:
            raise HostCallFailed("a forked process cannot speak to the host")
        frame = memoryview(struct.pack(">I", len(body)) + body)
        with self.lock:
            while frame:
                frame = frame[os.write(self.fd, frame):]

    def tell(self, message):
        self.send(json.dumps(message, allow_nan=False).encode("utf-8"))

    def listen(self):
        """Takes frames on a thread of its own, so that the end of the host ends the code too."""
        while True:
            try:
                size = struct.unpack(">I", self.exactly(4))[0]
                raw = self.exactly(size).decode("utf-8")
            except BaseException:
                os.killpg(0, signal.SIGKILL)
            message = json.loads(raw)
            if "reply" in message:
                waiting = self.pending.pop(message["reply"]["id"], None)
                if waiting is not None:
                    waiting.put(message["reply"])
            else:
                self.calls.put((message["call"], may_hold_images(raw)))

    def host_call(self, method, parameters):
        number = next(self.ids)
        waiting = self.pending[number] = queue.SimpleQueue()
        encoded = Encoder().encode({"id": number, "method": method, "parameters": parameters})
        self.send(b'{"host":' + encoded + b"}")
        reply = waiting.get()
        if reply.get("error") is not None:
            raise HostCallFailed(reply["error"])
        return reply.get("value")

    def log_metric(self, key, value, variant_id=None):
        if self.metrics is None:
            self.encoder.warn("`log_metric` does nothing outside an aggregation node")
            return
        self.metrics.append([str(key), json.loads(self.encoder.encode(value))])

    # Output of the user's code

    def open_outputs(self):
        for fd, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(self.outputs[fd - 1], fd)
            current = getattr(sys, name)
            own = getattr(self, name, None)
            if own is None or own.closed:
                own = io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True)
                setattr(self, name, own)
            if current is not own:
                setattr(sys, name, own)
                setattr(sys, "__%s__" % name, own)

    def close_outputs(self, marker):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        if "ctypes" in sys.modules:
            try:
                sys.modules["ctypes"].CDLL(None).fflush(None)
            except Exception:
                pass
        for fd in self.outputs:
            rest = memoryview(marker.encode("ascii"))
            while rest:
                rest = rest[os.write(fd, rest):]

    # One call

    def serve(self):
        threading.Thread(target=self.listen, name="flowbench-listen", daemon=True).start()
        self.tell({"ready": {"pid": self.pid, "version": "%d.%d.%d" % sys.version_info[:3]}})
        while True:
            call, has_images = self.calls.get()
            if self.modules.is_stale():
                self.tell("stale")
                os._exit(0)
            self.tell("started")
            body = self.answer(call, has_images)
            if os.getpid() != self.pid:
                # A fork that came back out of the user's code must not answer for its parent.
                os._exit(0)
            self.close_outputs(call["marker"])
            self.send(body)

    def answer(self, call, has_images):
        self.encoder = Encoder()
        self.metrics = [] if call["is_aggregation"] else None
        self.open_outputs()
        kind = "load"
        try:
            target, connections = self.resolve(call)
            kind = "raised"
            inputs = with_images(call["inputs"]) if has_images else call["inputs"]
            value = self.invoke(call, target, inputs, connections)
            encoded = self.encoder.encode(value)
            if len(encoded) > self.max_result:
                raise LimitFailure("the result has %d bytes; %d are allowed" % (len(encoded), self.max_result))
            extras = json.dumps({"metrics": self.metrics or [], "warnings": self.encoder.warnings}).encode("utf-8")
            body = b'{"result":{"value":' + encoded + b"," + extras[1:] + b"}"
        except BaseException as error:
            report = describe(error, self.modules.folder)
            if isinstance(error, LoadFailure):
                kind = "load"
            elif isinstance(error, (MemoryError, LimitFailure)):
                kind = "limit"
            elif isinstance(error, SystemExit):
                report["message"] = "the code called `sys.exit(%s)`" % ("" if error.code is None else error.code)
            report.update(kind=kind, warnings=self.encoder.warnings, own=isinstance(error, (LoadFailure, LimitFailure)))
            body = json.dumps({"error": report}).encode("utf-8")
        finally:
            self.modules.note()
        return body

    def resolve(self, call):
        source = call["source"]
        kind = source["kind"]
        if kind == "python_file":
            target = find_tool(self.modules.from_file(source["path"]), source["path"])
        elif kind == "python_package":
            target = find_dotted(source["tool"])
        else:
            module_name, _, attribute = source["entry"].partition(":")
            module = importlib.import_module(module_name)
            value = module
            for part in attribute.split("."):
                value = getattr(value, part, None)
                if value is None:
                    raise LoadFailure("module `%s` has no `%s`" % (module_name, attribute))
            target = (value, None) if isinstance(value, type) else (None, value)
        return target, {name: wire for name, wire in call["connections"]}

    def arguments(self, function, names, inputs, connections):
        annotations = parameters_of(function)
        chosen = {}
        for name in names:
            annotation = annotations.get(name)
            if name in connections:
                chosen[name] = build_connection(connections[name], annotation)
            else:
                chosen[name] = self.adapted(inputs[name], annotation)
        return chosen

    def adapted(self, value, annotation):
        """Values that become objects: streamed text, and what a parameter's annotation asks for."""
        if isinstance(value, dict) and len(value) == 1 and isinstance(value.get(PIECES_KEY), list):
            return Pieces([str(piece) for piece in value[PIECES_KEY]])
        for wanted in annotated_classes(annotation):
            if isinstance(value, str) and wanted.__name__ == "Image" and wanted.__module__.startswith("promptflow"):
                return image_from_text(wanted, value)
            if isinstance(value, dict) and wanted.__name__ in ("OpenAIModelConfiguration", "AzureOpenAIModelConfiguration"):
                return wanted(**{key: item for key, item in value.items() if key not in ("type", "_type")})
        return value

    def instance(self, owner, inputs, connections, taken):
        """The object that a method is called on: one per class and arguments in this process."""
        wanted = [name for name in parameters_of(owner.__init__) if name != "self"]
        names = [name for name in wanted if name in inputs or name in connections]
        taken.update(names)
        key = (owner, json.dumps([[name, connections.get(name, inputs.get(name))] for name in names], default=repr, sort_keys=True))
        if key not in self.instances:
            if len(self.instances) >= 64:
                self.instances.clear()
            self.instances[key] = owner(**self.arguments(owner.__init__, names, inputs, connections))
        return self.instances[key]

    def invoke(self, call, target, inputs, connections):
        owner, function = target
        source, taken = call["source"], set()
        is_flex = source["kind"] == "flex_entry"
        if is_flex:
            if owner is not None:
                own = self.instance(owner, source["init"], connections, taken)
                connections = {name: wire for name, wire in connections.items() if name not in taken}
                function = own.__aggregate__ if source["aggregate"] else own.__call__
            elif source["aggregate"]:
                raise LoadFailure("`%s` is a function; only a class can have `__aggregate__`" % source["entry"])
            taken = set()
        elif owner is not None:
            own = self.instance(owner, inputs, connections, taken)
            function = getattr(own, function.__name__)
        if is_flex and source["aggregate"]:
            value = self.finish(function(inputs.get("line_results", [])))
            if isinstance(value, dict):
                for key, item in value.items():
                    self.metrics is not None and self.log_metric(key, item)
            return value
        names = [name for name in list(inputs) + [n for n in connections if n not in inputs] if name not in taken]
        value = self.finish(function(**self.arguments(function, names, inputs, connections)))
        if is_flex and not isinstance(value, dict):
            fields = getattr(type(value), "__dataclass_fields__", None)
            value = {"output": value} if fields is None else {name: getattr(value, name) for name in fields}
        return value

    def finish(self, value):
        """Waits for a coroutine; streams an iterator and joins it to text."""
        if inspect.isawaitable(value):
            value = self.run_async(value)
        if isinstance(value, typing.AsyncIterator):
            iterator = value
            value = self.from_async(iterator)
        elif not isinstance(value, typing.Iterator) or isinstance(value, io.IOBase):
            return value
        parts, size = [], 0
        for part in value:
            text = self.encoder.text(part if isinstance(part, str) else "" if part is None else str(part))
            size += len(text)
            if size > self.max_result:
                raise LimitFailure("the streamed result is longer than %d characters" % self.max_result)
            if text:
                parts.append(text)
                self.tell({"chunk": {"text": text}})
        return "".join(parts)

    def run_async(self, awaitable):
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)

        async def wait():
            return await awaitable

        return self.loop.run_until_complete(wait())

    def from_async(self, iterator):
        while True:
            try:
                yield self.run_async(iterator.__anext__())
            except StopAsyncIteration:
                return


def serve(fd, exactly, hello):
    global WORKER
    limit_resources(hello.get("memory_bytes"))
    WORKER = Worker(fd, exactly, hello)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: os.close(fd))
    host = type(sys)("flowbench_host")
    host.call, host.log_metric, host.HostCallFailed = WORKER.host_call, WORKER.log_metric, HostCallFailed
    sys.modules["flowbench_host"] = host
    helper = type(sys)("flowbench_worker")
    helper.build_connection = build_connection
    sys.modules["flowbench_worker"] = helper
    if hello["modules"]:
        sys.meta_path.insert(0, ShimFinder(hello["modules"]))
    else:
        use_installed_package()
    sys.path.insert(0, hello["folder"])
    sys.argv = ["flowbench"]
    WORKER.open_outputs()
    WORKER.serve()


def use_installed_package():
    """With the real package in place, its metric hook is ours."""
    try:
        from promptflow._core.metric_logger import add_metric_logger
    except ImportError:
        return
    add_metric_logger(WORKER.log_metric)


def limit_resources(memory):
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
