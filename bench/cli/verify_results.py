"""`verify-results`: whether everything on disk is whole."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.places import PROTOCOLS, existing_results_option


@click.command("verify-results")
@existing_results_option
def verify_results(results: Path) -> int:
    """Check every record's hashes and every prediction's ids; name what nobody owns.

    Exit 1 where a number is in doubt. Needs neither metadata nor images.
    """
    from bench.foreign import printable
    from bench.protocol import load_protocols
    from bench.run.integrity import verify_results as verify

    checked = verify(results, load_protocols(PROTOCOLS), PROTOCOLS)
    for finding in checked.findings:
        kind = "FAULT" if finding.grave else "note"
        click.echo(printable(f"{kind}: {finding.path}: {finding.what}"))
    if checked.absent:
        told = ", ".join(f"{count} of {name}" for name, count in checked.absent.items())
        click.echo(printable(f"note: files that records name and that are not here: {told}"))
    click.echo(
        f"{results}: checked {checked.records} records, {checked.files} files of theirs and "
        f"{checked.submissions} submissions: {'sound' if checked.sound else 'NOT sound'}"
    )
    return 0 if checked.sound else 1
