"""When and where things run. Most modules are commands: `python -m deployments.…`."""

import sys

from lib.packages import tell_missing

if sys.argv[0] == "-m":
    tell_missing()

from lib.command_line import begin
from lib.redaction import keep_out_of_logs

keep_out_of_logs()
if sys.argv[0] == "-m":  # before any import of the command's own
    begin()
