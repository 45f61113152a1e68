# Where the connection classes live in prompt flow; some sources import them from here.
from promptflow.connections import *
from promptflow.connections import _Connection, _StrongTypeConnection
