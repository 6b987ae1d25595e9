"""The Python API: a governor with its hierarchies, containers and jobs."""

from governor.api.container import Container as Container
from governor.api.governor import Governor as Governor
from governor.api.hierarchy import Hierarchy as Hierarchy
from governor.api.job import Job as Job
from governor.results import ContainerReport as ContainerReport
from governor.results import Event as Event
from governor.results import HierarchyReport as HierarchyReport
from governor.results import JobReport as JobReport
from governor.results import JobResult as JobResult
from governor.results import Place as Place
from governor.results import ProcessReport as ProcessReport
from governor.results import Refusal as Refusal
from governor.results import StatusReport as StatusReport
