"""An executor of concurrent.futures whose workers are governed processes."""

from governor.api.executor.executor import Executor as Executor
from governor.api.executor.task import Future as Future
