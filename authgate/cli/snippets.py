"""`authgate snippets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authgate.cli.terminal import FAILED, USAGE, console, did_you_mean, fail, print_rows
from authgate.vocabulary import DEFAULT_POLICY, DEFAULT_PRESET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from authgate.tools.snippets import File, Manifest, Snippet


def snippets(
    proxy: Annotated[
        str | None,
        typer.Argument(
            metavar="PROXY", help="The proxy; without it, the list of proxies.", show_default=False
        ),
    ] = None,
    *,
    gate: Annotated[
        str | None,
        typer.Option(metavar="URL|unix:PATH", help="The address of the gate; by default on this machine."),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The address of the app; by default port 3000 on this machine."),
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address on which the proxy listens.")
    ] = ":8000",
    policy: Annotated[
        str, typer.Option(metavar="NAME", help="The policy of the gate that protects the app.")
    ] = DEFAULT_POLICY,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="headers.preset of the gate: oauth2-proxy, kubernetes, remote or none."
        ),
    ] = DEFAULT_PRESET,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another header that the gate sends (headers.set, identityToken); repeatable.",
        ),
    ] = None,
    strip_authorization: Annotated[
        bool,
        typer.Option(
            "--strip-authorization/--keep-authorization",
            help="Remove the token before the request reaches the app, or forward it.",
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
            help="The gate also accepts a token in a cookie, which is removed for the app (credential.sources).",
        ),
    ] = False,
    token_header: Annotated[
        str | None,
        typer.Option(
            "--token-header",
            metavar="NAME",
            help="The gate also accepts a token in this header, which is removed for the app (credential.sources).",
        ),
    ] = None,
    error_pages: Annotated[
        bool,
        typer.Option(
            "--error-pages",
            help="Answer denied requests with a page for browsers (Accept: text/html), and with JSON otherwise.",
        ),
    ] = False,
    gate_timeout: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=25,
            help="The timeout for the gate; it must exceed 2 x keys.timeout + 2 x tokenReview.timeout.",
            show_default=False,
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Serve TLS, with tls.crt and tls.key.")] = False,
    complete: Annotated[
        bool,
        typer.Option("--complete", help="Print a complete configuration instead of fragments to include."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write files to this folder instead of printing them.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --output, overwrite files that exist and differ.")
    ] = False,
) -> None:
    """Print the tested configuration of a proxy in front of an app.

    Without PROXY, list the proxies and the tested versions. If there are several files, a line `# file: NAME` precedes
    each.
    """
    from authgate.tools.snippets import MANIFESTS, SNIPPETS, Options, manifests, rendered
    from authgate.tools.snippets.options import (
        GATE_TIMEOUT,
        parse_app,
        parse_gate,
        parse_header,
        parse_listen,
        parse_open_path,
        parse_policy,
        parse_preset,
        parse_token_header,
    )

    if proxy is None:
        _print_list(tuple(SNIPPETS.values()), tuple(MANIFESTS.values()))
        return
    if proxy not in SNIPPETS and proxy not in MANIFESTS:
        known = (*SNIPPETS, *MANIFESTS)
        fail(
            f"no snippet for {proxy}; choose one of {', '.join(known)}{did_you_mean(proxy, known)}",
            USAGE,
        )
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
            token_header=parse_token_header(token_header) if token_header else "",
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
    if output is not None:
        _write_files(files, output, force=force)
    elif force:
        fail("--force: needs --output FOLDER, because printing overwrites nothing", USAGE)
    else:
        _print_files(files)


def _print_list(snippets: Sequence[Snippet], manifests: Sequence[Manifest]) -> None:
    out = console()
    rows = [(each.proxy, f"{each.title}, tested with {' and '.join(each.runs_on)}") for each in snippets]
    rows += [(each.proxy, f"{each.title}: manifests, checked against {each.checked}") for each in manifests]
    print_rows(out, rows)
    print("'authgate snippets PROXY' prints one; 'authgate snippets --help' lists the options.")


def _print_files(files: Sequence[File]) -> None:
    for file in files:
        if len(files) > 1:
            print(f"# file: {file.name}")
        print(file.text, end="" if file is files[-1] else "\n")


def _write_files(files: Sequence[File], folder: Path, *, force: bool) -> None:
    """Write all files, or none if one of them exists and differs; `force` overwrites it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = folder / file.name
            if not force and path.exists() and path.read_bytes() != file.text.encode():
                fail(
                    f"{path} exists and differs: overwrite it with --force, or choose another folder", FAILED
                )
        for file in files:
            (folder / file.name).write_text(file.text, encoding="utf-8")
            print(folder / file.name)
    except OSError as error:
        fail(f"cannot write to {folder}: {error.strerror or error}", FAILED)
