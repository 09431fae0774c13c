"""All commands of the command line."""

from __future__ import annotations

from authgate.cli.application import new_application
from authgate.cli.check import check
from authgate.cli.completion import completion
from authgate.cli.config import config_app
from authgate.cli.dev import dev
from authgate.cli.doctor import doctor
from authgate.cli.explain import explain
from authgate.cli.healthcheck import healthcheck
from authgate.cli.help import help_
from authgate.cli.inspect import inspect
from authgate.cli.plain_parser import UNPARSED
from authgate.cli.policy import policy_app
from authgate.cli.serve import serve
from authgate.cli.snippets import snippets
from authgate.cli.token import token
from authgate.cli.version import version

app = new_application()
app.command()(serve)
app.command()(dev)
app.command()(check)
app.command()(doctor)
app.add_typer(config_app, name="config")
app.add_typer(policy_app, name="policy")
app.command()(inspect)
app.command()(explain)
app.command()(token)
app.command()(snippets)
app.command(context_settings=UNPARSED)(healthcheck)
app.command()(completion)
app.command("help")(help_)
app.command(context_settings=UNPARSED)(version)
