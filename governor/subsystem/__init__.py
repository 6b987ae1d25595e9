"""What controllers are made of: the contract with the core, and bases that several share."""

from governor.subsystem.contract import ControlFile as ControlFile
from governor.subsystem.contract import Host as Host
from governor.subsystem.contract import Metric as Metric
from governor.subsystem.contract import Subsystem as Subsystem
from governor.subsystem.contract import Value as Value
from governor.subsystem.contract import to_number as to_number
from governor.subsystem.counted import CountedSubsystem as CountedSubsystem
from governor.subsystem.counted import counted_metrics as counted_metrics
from governor.subsystem.counted import format_limit as format_limit
from governor.subsystem.counted import parse_reset as parse_reset
