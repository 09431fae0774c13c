"""`authgate snippets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.terminal import FAILED, USAGE, console, fail, print_rows
from authgate.vocabulary import DEFAULT_POLICY, DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authgate.tools.snippets import File, Manifest, Snippet


def snippets(
    proxy: Annotated[
        str | None, typer.Argument(help="Which proxy; without one, those that there are.", show_default=False)
    ] = None,
    *,
    gate: Annotated[
        str | None,
        typer.Option(metavar="URL|unix:PATH", help="Where the gate listens; on this machine by default."),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the app listens; on this machine at port 3000 by default."),
    ] = None,
    listen: Annotated[str, typer.Option(metavar="ADDRESS", help="Where the proxy is to listen.")] = ":8000",
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="The gate's policy for the app.")
    ] = DEFAULT_POLICY,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The gate's headers.preset: oauth2-proxy, kubernetes, remote or none."
        ),
    ] = DEFAULT_PRESET,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A header that the gate sends beside the preset's (headers.set, identityToken); repeatable.",
        ),
    ] = None,
    strip_authorization: Annotated[
        bool,
        typer.Option(
            "--strip-authorization/--keep-authorization",
            help="Whether the token stays from the app, or reaches it.",
        ),
    ] = True,
    open_: Annotated[
        list[str] | None,
        typer.Option(
            "--open", metavar="PATH", help="A path that needs no token, such as /healthz; repeatable."
        ),
    ] = None,
    cookie: Annotated[
        bool,
        typer.Option(
            "--cookie",
            help="The gate takes tokens from a cookie, too; the app gets the others (credential.sources).",
        ),
    ] = False,
    error_pages: Annotated[
        bool,
        typer.Option(
            "--error-pages",
            help="Refusals come with a page for those who ask for text/html, and with JSON for all others.",
        ),
    ] = False,
    gate_timeout: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=25,
            help="When to give up on the gate: more than twice keys.timeout and twice tokenReview.timeout together.",
            show_default=False,
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Serve TLS, with tls.crt and tls.key.")] = False,
    complete: Annotated[
        bool, typer.Option("--complete", help="A whole configuration, and not what one puts into one's own.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write files, instead of printing them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the configuration of a proxy that asks the gate, as the tests run it.

    Without PROXY: the proxies, and the versions that they were run on. Several files are printed each after a line
    `# file: NAME`.
    """
    from authgate.tools.snippets import MANIFESTS, SNIPPETS, Options, manifests, rendered
    from authgate.tools.snippets.options import (
        parse_app,
        parse_gate,
        parse_header,
        parse_listen,
        parse_open_path,
        parse_policy,
        parse_preset,
    )
    from authgate.tools.snippets.timeouts import GATE_TIMEOUT

    if proxy is None:
        _print_list(tuple(SNIPPETS.values()), tuple(MANIFESTS.values()))
        return
    if proxy not in SNIPPETS and proxy not in MANIFESTS:
        fail(f"there is no snippet for {proxy}; there are {', '.join((*SNIPPETS, *MANIFESTS))}", USAGE)
    try:
        options = Options(
            gate=parse_gate(gate) if gate else None,
            app=parse_app(app) if app else None,
            listen=parse_listen(listen),
            policy=parse_policy(policy),
            preset=parse_preset(preset),
            headers=tuple(parse_header(name) for name in header or ()),
            strip_authorization=strip_authorization,
            open_paths=tuple(parse_open_path(path) for path in open_ or ()),
            cookie=cookie,
            error_pages=error_pages,
            gate_timeout=gate_timeout or GATE_TIMEOUT,
            tls=tls,
            complete=complete,
        )
        files = (
            rendered(SNIPPETS[proxy], options) if proxy in SNIPPETS else manifests(MANIFESTS[proxy], options)
        )
    except ValueError as error:
        fail(str(error), USAGE)
    if output is None:
        _print_files(files)
    else:
        _write_files(files, output)


def _print_list(snippets: Sequence[Snippet], manifests: Sequence[Manifest]) -> None:
    out = console()
    rows = [(each.proxy, f"{each.title}, run on {' and '.join(each.runs_on)}") for each in snippets]
    rows += [(each.proxy, f"{each.title}: manifests, checked against {each.checked}") for each in manifests]
    print_rows(out, rows)
    print("authgate snippets PROXY prints one; --help tells the options.")


def _print_files(files: Sequence[File]) -> None:
    for file in files:
        if len(files) > 1:
            print(f"# file: {file.name}")
        print(file.text, end="" if file is files[-1] else "\n")


def _write_files(files: Sequence[File], folder: Path) -> None:
    """Write the files, or none of them: what somebody has changed stays as it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = folder / file.name
            if path.exists() and path.read_text(encoding="utf-8") != file.text:
                fail(f"{path} is there already and differs: remove it, or choose another folder", FAILED)
        for file in files:
            (folder / file.name).write_text(file.text, encoding="utf-8")
            print(folder / file.name)
    except OSError as error:
        fail(f"cannot write into {folder}: {error.strerror or error}", FAILED)
