"""Run several services side by side: show what they say, see them ready, end them all together.

Each service is a process group of its own. Whatever ends the run, Ctrl-C, SIGTERM, a closed
terminal or a service that the others need, every group is told to stop and, if it does not, killed.
"""

from tools.processes.child import Service
from tools.processes.output import say
from tools.processes.watching import supervise

__all__ = ["Service", "say", "supervise"]
