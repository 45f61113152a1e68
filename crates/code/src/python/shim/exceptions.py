class PromptflowException(Exception):
    """Base of prompt flow's exceptions."""

    def __init__(self, message="", message_format="", target=None, module=None, **fields):
        self._message = message or (message_format.format(**fields) if message_format else "")
        self.target, self.module = target, module
        super().__init__(self._message)

    @property
    def message(self):
        return self._message


class UserErrorException(PromptflowException):
    pass


class SystemErrorException(PromptflowException):
    pass


class ValidationException(UserErrorException):
    pass


class ErrorTarget:
    UNKNOWN = "Unknown"
    TOOL = "Tool"
    EXECUTOR = "Executor"
    BATCH = "Batch"


class ExceptionPresenter:
    def __init__(self, error):
        self._error = error

    @classmethod
    def create(cls, error):
        return cls(error)

    def to_dict(self, include_debug_info=False):
        user = isinstance(self._error, UserErrorException)
        return {"code": "UserError" if user else "SystemError", "message": str(self._error)}


class ErrorResponse:
    def __init__(self, error):
        self._error = error

    @classmethod
    def from_exception(cls, error, include_debug_info=False):
        return cls(ExceptionPresenter.create(error).to_dict())

    @property
    def response_code(self):
        return 400 if self._error["code"] == "UserError" else 500

    def to_simplified_dict(self):
        return {"error": self._error}

    to_dict = to_simplified_dict
